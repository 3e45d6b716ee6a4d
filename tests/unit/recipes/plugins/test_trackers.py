"""Experiment trackers: one project and name for verl and TRL, files in the run's folder, offline without a login."""

from pathlib import Path

import pytest

from recipes import ROOT
from recipes.common.errors import ExperimentError
from recipes.common.run_dir import RunDir, write_text
from recipes.data.datafiles import locate
from recipes.flags.resolve import build_experiment
from recipes.run.build_stages import training_plan
from recipes.settings.profiles import PROFILES
from recipes.settings.trackers import tracker_environment
from recipes.verl_plugin.environment import environment
from recipes.verl_plugin.verl_config import rl_config
from tests.helpers.front_checks import experiment, small_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("data") / "countdown")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (
            {"project": "mine"},
            "--project mine: only wandb, .* add one, such as --logger console,file,tensorboard,wandb",
        ),
        ({"run_name": "mine"}, "--run_name mine: only wandb"),
        ({"logger": ("console", "mlflow")}, "--logger mlflow: the package mlflow is not installed"),
    ],
)
def test_what_could_have_no_effect_is_refused(flags: dict[str, object], says: str, folder: Path) -> None:
    with pytest.raises(ExperimentError, match=says):
        experiment(folder, **flags)


def test_one_project_and_name_go_to_verl_and_trl(folder: Path, tmp_path: Path) -> None:
    flags = {"logger": ("console", "file", "wandb"), "project": "mine", "run_name": "third"}
    e, run = experiment(folder, **flags), RunDir(tmp_path / "run")
    paths = {"train_file": folder / "train.parquet", "test_file": folder / "test.parquet", "resume_from": None}
    trainer = rl_config(e, run=run, model=e.model, **paths)["trainer"]  # type: ignore[arg-type]
    assert (trainer["project_name"], trainer["experiment_name"]) == ("mine", "third")
    answers = build_experiment({"algo": "dpo", "data": "countdown_preference", **flags}, PROFILES["cpu"])
    plan = training_plan(answers, run, locate(answers, ROOT))
    assert (plan.project, plan.run_name, plan.logger) == ("mine", "third", ("console", "wandb"))


@pytest.mark.parametrize("stage", [".", "sft"])
def test_a_stage_is_called_as_its_run_where_no_name_is_given(stage: str, folder: Path, tmp_path: Path) -> None:
    e, run = experiment(folder), RunDir(tmp_path / "run")
    write_text(run.experiment, "")
    paths = {"train_file": folder / "train.parquet", "test_file": folder / "test.parquet", "resume_from": None}
    config = rl_config(e, run=RunDir(run.path / stage), model=e.model, **paths)  # type: ignore[arg-type]
    assert config["trainer"]["experiment_name"] == ("run" if stage == "." else "run-sft")


def test_trackers_write_into_the_runs_folder_and_stay_offline_without_a_login(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR", "SWANLAB_API_KEY", "MLFLOW_TRACKING_URI", "TRACKIO_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    run = RunDir(tmp_path / "run")
    found = tracker_environment(("wandb", "swanlab", "mlflow", "trackio"), run)
    assert found["WANDB_MODE"] == found["SWANLAB_MODE"] == "offline"
    places = ("WANDB_DIR", "SWANLAB_LOG_DIR", "MLFLOW_TRACKING_URI", "TRACKIO_DIR")
    assert all(str(run.path) in found[name] for name in places)
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password 0123\n")
    assert "WANDB_MODE" not in tracker_environment(("wandb",), run)
    (tmp_path / "netrc").unlink()
    monkeypatch.setenv("WANDB_API_KEY", "0123")
    monkeypatch.setenv("WANDB_DIR", "/elsewhere")
    e = experiment(folder, logger=("console", "file", "wandb"))
    assert environment(e, run)["WANDB_DIR"] == "/elsewhere"
    assert "0123" not in str(environment(e, run))
    assert not tracker_environment(("console", "tensorboard"), run)
