"""Modules are the project's own in every process, whatever lies in the folder that a command is given in."""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from recipes import ROOT
from recipes.common.run_dir import RunDir
from recipes.flags.resolve import build_experiment
from recipes.settings.profiles import PROFILES
from recipes.verl_plugin.environment import environment
from recipes.verl_plugin.warm_client import command, shared_server
from reward_fns.pool import Pool

pytestmark = pytest.mark.contract

SHADOWS = ("eval.py", "recipes/__init__.py", "reward_fns/__init__.py", "data_prep/__init__.py")
LOOK = "import recipes.run.evaluate_stage as found, eval.evaluate, mine; print(found.__file__, mine.__file__)"


@pytest.fixture
def shadowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with other modules of the names of ours, and one of the user's own."""
    for name in SHADOWS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise RuntimeError('of the working directory')")
    (tmp_path / "mine.py").write_text("def score(text, truth, **_):\n    return {'score': 1.0}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("on_path", [False, True], ids=["the working directory", "PYTHONPATH"])
def test_a_stage_finds_ours_and_behind_it_the_users(
    on_path: bool, shadowed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if on_path:
        monkeypatch.setenv("PYTHONPATH", str(shadowed))
    env = {**os.environ, **environment(build_experiment({}, PROFILES["cpu"]), RunDir(shadowed / "run"))}
    expected = f"{ROOT}/recipes/run/evaluate_stage.py {shadowed}/mine.py"
    plain = subprocess.run([sys.executable, "-c", LOOK], env=env, capture_output=True, text=True, check=False)
    assert plain.stdout.strip() == expected, plain.stderr
    with TemporaryDirectory(prefix="uft-", dir="/tmp") as place, shared_server(Path(place), env) as path:
        (shadowed / "look.py").write_text(LOOK)
        for line in (["-m", "look"], [str(shadowed / "look.py")]):
            done = subprocess.run([*command(path), *line], env=env, capture_output=True, text=True, check=False)
            assert done.stdout.strip() == expected, done.stderr


def test_reward_workers_do_too(shadowed: Path) -> None:
    pool = Pool(1)
    found = pool.call("mine:score", "a", "b", seconds=20.0)
    assert (found.status, found.value) == ("ok", {"score": 1.0}), found.message


def test_ray_puts_the_drivers_places_into_a_list_that_ends_with_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker puts each in front of the one before it; the list is private to Ray, and may become another."""
    import ray
    from ray.job_config import JobConfig

    from recipes.verl_plugin.module_path import ours_first

    assert JobConfig()._py_driver_sys_path == []
    monkeypatch.setattr(ray, "init", lambda job_config: job_config)
    ours_first()
    job = ray.init()
    job._py_driver_sys_path.extend(["/script", "/working/directory"])
    assert [*job._get_proto_job_config().py_driver_sys_path][-1] == str(ROOT)
    assert len(job._py_driver_sys_path) == 3
