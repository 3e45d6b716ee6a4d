"""Trackers in stages of verl and of TRL: one project, one run, every step and metric once, as far as the package is
installed by what it has written, and always by what it is asked for."""

import importlib.util
import json
import os
import sqlite3
import struct
import subprocess
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from recipes import ROOT
from recipes.common.run_dir import RunDir
from recipes.settings.trackers import tracker_environment
from recipes.trl_plugin.plan import write_plan
from tests.e2e.support import EMBEDDED
from tests.helpers.alignment_checks import plan

pytestmark = pytest.mark.contract

NAMES = ("trackio", "swanlab", "mlflow")
STEPS: dict[int, dict[str, float]] = {
    0: {"val/loss": 0.5},
    1: {"train/loss": 2.0, "val/acc/math@easy (1)": 0.25},
    2: {"train/loss": 1.0, "val/loss": 0.25},
}
CONFIG = {
    "trainer": {"logger": ["console"], "nothing": None},
    "many": {f"key{number}": number for number in range(250)},
}
"""As many settings as verl's configuration has, which is more than mlflow takes at once."""


def expected(name: str) -> dict[int, dict[str, float]]:
    """The steps as a tracker names their metrics."""
    if name != "mlflow":
        return STEPS
    return {
        step: {metric.replace("math@easy (1)", "math_at_easy _1_"): v for metric, v in of.items()}
        for step, of in STEPS.items()
    }


def log_as_verl() -> None:
    """What a stage of verl's does with its tracker, named in the environment."""
    from verl.utils.tracking import Tracking

    import recipes.verl_plugin.external  # noqa: F401  (hooks)

    tracking = Tracking("proj", "third", [os.environ["TRACKER"]], CONFIG)
    for step, metrics in STEPS.items():
        tracking.log(metrics, step)
    tracking.finish()


def log_as_trl() -> None:
    """The same in a stage of TRL's, told by the plan in RUN."""
    from accelerate import PartialState

    from recipes.trl_plugin.plan import read_plan
    from recipes.trl_plugin.recording import _tracker

    PartialState(cpu=True)
    told = read_plan(Path(os.environ["RUN"]))
    log = _tracker(os.environ["TRACKER"], told, RunDir(Path(told.run_dir)))
    for step, metrics in STEPS.items():
        log(step, metrics)


def prepare(folder: Path, name: str) -> dict[str, str]:
    """A plan in the folder, and the variables of its stage."""
    run = RunDir(folder / "run")
    told = replace(plan(folder, EMBEDDED, "dpo"), run_dir=str(run.path), project="proj", run_name="third")
    write_plan(told, run.path)
    return {"TRACKER": name, "RUN": str(run.path), **tracker_environment((name,), run)}


# --- what is asked for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("log", [log_as_verl, log_as_trl])
def test_every_tracker_is_asked_for_one_run_and_told_every_step_once(
    name: str, log: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import accelerate.tracking  # noqa: F401  (looks for the packages that there are)

    package = MagicMock(name=name)
    package.__spec__ = ModuleSpec(name, None)
    package.context_vars.current_run.get.return_value = None
    package.search_experiments.return_value = []
    package.utils.validation.MAX_PARAM_VAL_LENGTH, package.utils.validation.MAX_PARAMS_TAGS_PER_BATCH = 6000, 100

    def refuse(params: dict[str, Any]) -> None:
        assert len(params) <= 100, "mlflow would refuse them"

    package.log_params.side_effect = refuse
    monkeypatch.setitem(sys.modules, name, package)
    monkeypatch.setattr("recipes.trl_plugin.recording.atexit", MagicMock())
    for variable, value in prepare(tmp_path, name).items():
        monkeypatch.setenv(variable, value)
    log()
    begun = package.start_run if name == "mlflow" else package.init
    begun.assert_called_once()
    asked = begun.call_args.kwargs
    if name == "mlflow":
        projects = [*package.set_experiment.call_args_list, *package.create_experiment.call_args_list]
        assert [call.args[0] if call.args else call.kwargs["name"] for call in projects] == ["proj"]
        assert asked["run_name"] == "third"
        given = {key for call in package.log_params.call_args_list for key in call.args[0]}
        assert {"many/key0", "many/key249"} <= given or {"method", "beta"} <= given
        logged = package.log_metrics
    else:
        assert asked["project"] == "proj"
        assert asked["experiment_name" if name == "swanlab" else "name"] == "third"
        if name == "swanlab":
            assert (asked["mode"], asked["logdir"]) == ("offline", str(tmp_path / "run/swanlab"))
        logged = package.log if log is log_as_verl else begun.return_value.log
    told = []
    for call in logged.call_args_list:
        (metrics,) = (each for each in (*call.args, *call.kwargs.values()) if isinstance(each, dict))
        told.append((call.kwargs["step"], metrics))
    assert told == list(expected(name).items())


# --- what is written --------------------------------------------------------------------------------------------------


def written(name: str, run: Path) -> dict[tuple[str, str], list[tuple[int, str, float]]]:
    """(step, metric, value) by project and run, as a tracker has written them."""
    rows: list[tuple[str, str, int, str, float]] = []
    if name == "trackio":
        for file in (run / "trackio").glob("*.db"):
            found = sqlite3.connect(file).execute("SELECT run_name, step, metrics FROM metrics")
            rows += [(file.stem, who, step, *each) for who, step, text in found for each in json.loads(text).items()]
    elif name == "mlflow":
        query = (
            "SELECT e.name, r.name, m.step, m.key, m.value FROM metrics m JOIN runs r USING (run_uuid) "
            "JOIN experiments e USING (experiment_id) WHERE r.status = 'FINISHED'"
        )
        rows += sqlite3.connect(run / "mlflow.db").execute(query).fetchall()
    else:
        from swanlab.proto.swanlab.record.v1.record_pb2 import Record

        for file in (run / "swanlab").glob("run-*/run-*.swanlab"):
            # After its mark checksum, length, kind and record by turns; longer files come in blocks.
            content, at = file.read_bytes(), 7
            while at < len(content):
                _, length, _ = struct.unpack("<IHB", content[at : at + 7])
                record = Record.FromString(content[at + 7 : at + 7 + length])
                at += 7 + length
                if record.HasField("start"):
                    who = record.start.project, record.start.name
                if record.HasField("scalar") and not record.scalar.key.startswith("__swanlab__"):
                    rows.append((*who, record.scalar.step, record.scalar.key, record.scalar.value.number))
    by_run: dict[tuple[str, str], list[tuple[int, str, float]]] = {}
    for project, called, *row in rows:
        by_run.setdefault((project, called), []).append((int(row[0]), str(row[1]), float(row[2])))
    return by_run


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("log", ["log_as_verl", "log_as_trl"])
def test_an_installed_tracker_writes_every_step_once_into_the_runs_folder(name: str, log: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not among the pinned packages; python -m pip install {name}")
    env = {**os.environ, **prepare(tmp_path, name), "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    env["VERL_USE_EXTERNAL_MODULES"] = "recipes.verl_plugin.external"
    script = f"from tests.contract.test_trackers import {log}; {log}()"
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    ((who, found),) = written(name, tmp_path / "run").items()
    assert who == ("proj", "third")
    assert sorted(found) == sorted((step, *each) for step, of in expected(name).items() for each in of.items())
    # Nothing beside what the run is asked to keep.
    assert {path.name for path in tmp_path.iterdir()} == {"run", "train.parquet", "test.parquet"}
