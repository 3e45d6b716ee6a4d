"""The end of a run: what it cost over all legs, when it stops early, what its card and its last lines say."""

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes import ROOT
from recipes.common.errors import ExperimentError
from recipes.common.run_dir import RunDir, append_metrics, write_json, write_text
from recipes.data.datafiles import locate, prepared
from recipes.flags.resolve import build_experiment
from recipes.run.build_stages import training_plan
from recipes.run.closing import serve_command, validations
from recipes.run.launch import launch
from recipes.run.model_card import command, model_card
from recipes.run.spent import UNDER_WAY, Spent, begin, count, count_killed, spent, tokens
from recipes.settings.early_stopping import is_over
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import PROFILES
from recipes.settings.trackers import tracker_environment
from recipes.verl_plugin.environment import environment
from recipes.verl_plugin.verl_config import rl_config
from tests.front_checks import experiment, finished_on_disk, small_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("data") / "countdown")


# --- what it cost -----------------------------------------------------------------------------------------------------


def test_legs_add_up_those_that_were_killed_too(tmp_path: Path) -> None:
    run, stage = RunDir(tmp_path), RunDir(tmp_path / "sft")
    assert spent(run) == Spent()
    begin(run, stage.path)
    count(run, 10.0, 5)
    assert not (run.path / UNDER_WAY).exists()
    count_killed(run)
    assert spent(run) == Spent(10.0, 5)
    began = time.time() - 100
    write_json(run.path / UNDER_WAY, {"time": began, "folder": str(stage.path)})
    write_text(stage.progress, "{}")
    os.utime(stage.progress, (began + 30, began + 30))
    write_text(stage.log, "")
    os.utime(stage.log, (began + 20, began + 20))
    count_killed(run)
    assert spent(run).seconds == pytest.approx(40.0)
    assert spent(run).peak_memory_bytes == 5
    count_killed(run)
    assert spent(run).seconds == pytest.approx(40.0)


def test_a_leg_killed_before_its_first_sign_of_life_took_no_time(tmp_path: Path) -> None:
    begin(RunDir(tmp_path), tmp_path / "nothing")
    count_killed(RunDir(tmp_path))
    assert spent(RunDir(tmp_path)).seconds == 0


def test_tokens_are_those_of_all_stages(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    append_metrics(RunDir(tmp_path / "sft").metrics, 1, {"train/global_tokens": 100})
    append_metrics(run.metrics, 0, {"val/acc": 0.5})
    append_metrics(run.metrics, 1, {"perf/total_num_tokens": 50, "uft/generated": 20.0})
    append_metrics(run.metrics, 2, {"perf/total_num_tokens": 60, "uft/generated": 30.0})
    assert tokens(run) == {"tokens generated": 50, "tokens trained": 210}


# --- early stopping ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "patience", "over"),
    [
        ([0.1, 0.2, 0.2], 1, True),  # as good as before is no improvement
        ([0.1, 0.2, 0.2], 2, False),
        ([0.3, 0.2, 0.25], 2, True),  # better than the one before is none either
        ([0.3, 0.2, 0.31], 2, False),
        ([0.3, 0.2], 2, False),
        ([0.3], 1, False),
        ([0.3, 0.2, 0.1], 0, False),
    ],
)
def test_it_is_over_when_nothing_improved_for_so_many_validations(
    values: list[float], patience: int, over: bool
) -> None:
    assert is_over(values, patience) is over


@given(st.lists(st.floats(0, 1), max_size=12), st.integers(1, 4))
def test_a_rising_curve_never_stops_and_a_falling_one_does(values: list[float], patience: int) -> None:
    rising = sorted({*values})
    assert not is_over(rising, patience)
    assert is_over(rising[::-1], patience) == (len(rising) > patience)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"early_stopping": 2}, "--early_stopping 2: .* end the run at step 4 at the earliest, and --T is 4"),
        ({"early_stopping": -1}, "--early_stopping -1: must not be negative"),
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


def test_a_run_killed_after_it_stopped_early_is_finished(folder: Path, tmp_path: Path) -> None:
    run, e = RunDir(tmp_path / "run"), experiment(folder, T=9, own_texts=0, early_stopping=1)
    finished_on_disk(run, experiment(folder, T=4, own_texts=0))
    write_text(run.experiment, run.experiment.read_text().replace("T: 4\n", "T: 9\n", 1))
    write_text(run.metrics, "")
    for step, value in ((0, 0.1), (2, 0.3), (4, 0.3)):
        append_metrics(run.metrics, step, {"val/acc": value})
    assert launch(e, run.path, resume=True, stall_minutes=1) == 0
    assert json.loads(run.summary.read_text())["last step"] == 4
    assert validations(run).best == (2, 0.3)


# --- trackers ---------------------------------------------------------------------------------------------------------


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


# --- card and last lines ----------------------------------------------------------------------------------------------

SUMMARY = {
    "val/acc before": 0.1,
    "val/acc last": 0.5,
    "val/acc best": 0.6,
    "best step": 2,
    "last step": 4,
    "seconds": 90.0,
    "tokens trained": 12345,
    "tokens generated": 678,
}


@pytest.mark.parametrize("algo", ["uft", "sft", "sft_rft", "grpo", "una_online", "dpo", "una_sft"])
def test_a_card_names_what_the_weights_were_made_of(algo: str, folder: Path, tmp_path: Path) -> None:
    answers = algo in ("dpo", "una_sft")
    flags = {"algo": algo, "data": "countdown_preference" if answers else str(folder), "seed": 3, "lr": 2e-5}
    e = build_experiment(flags, PROFILES["cpu"])
    run = RunDir(tmp_path / "run")
    append_metrics(run.metrics, 0, {"val/acc": 0.1, "val/truncated": 0.25})
    append_metrics(run.metrics, 4, {"val/acc": 0.5})
    card = model_card(e, run, locate(e, ROOT) if answers else prepared(e, ROOT), SUMMARY, flags, kind="last")
    text = str(card)
    assert card.data.pipeline_tag == "text-generation"
    assert e.algorithm.name in card.data.tags
    assert card.data.eval_results[0].metric_value == 0.5
    for part in (
        "models/tiny-countdown",
        f"`{e.algorithm.name}`: {e.algorithm.title}",
        "10.0% before, 50.0% after",
        f"python3 run.py --algo {algo} --data",
        "| lr | 2e-05 |" if algo != "sft" else "| sft_lr | 2e-05 |",
        f"| configuration | {e.hash}, seed 3 |",
        "| versions | Python 3.",
        " trl " if answers else " verl ",
        "| val/acc | 0.1000 (step 0) | 0.5000 (step 4) |",
        "| val/truncated | 0.2500 (step 0) | 0.2500 (step 0) |",
        "12,345 trained on, 678 generated",
        "1.5 min on 1 cpu device(s)",
    ):
        assert part in text, part
    assert f"| batch_size | {e.alignment.batch_size if answers else e.batch_size} |" in text
    assert ("| lr |" in text) == (algo != "sft")
    assert ("| epochs |" in text) == answers
    assert ("| sft_loss_coef |" in text) == (algo == "uft")
    assert ("| beta |" in text) == (algo in ("dpo", "una_sft", "una_online"))


def test_the_command_of_a_card_is_the_one_without_where_it_wrote() -> None:
    given = {
        "algo": "uft",
        "lr": 1e-5,
        "out": "/home/me/x",
        "push_to_hub": "me/x",
        "resume": True,
        "logger": ("a", "b"),
    }
    assert command({**given, "overrides": ("a.b=1",)}) == ("python3 run.py --algo uft --lr 1e-05 --logger a,b -- a.b=1")


def test_the_serving_line_is_right_for_the_machine(folder: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "a run")
    on_cpu = serve_command(experiment(folder), run)
    assert on_cpu.startswith("VLLM_CPU_KVCACHE_SPACE=1 TORCHDYNAMO_DISABLE=1 ")
    assert f"vllm serve '{run.hf / 'last'}' --dtype float32 --enforce-eager" in on_cpu
    e: Experiment = build_experiment({"model": "Qwen/Qwen2.5-1.5B"}, PROFILES["1x80gb"])
    assert serve_command(e, run).endswith(f"vllm serve '{run.hf / 'last'}' --dtype bfloat16")
