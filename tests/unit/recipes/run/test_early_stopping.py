"""--early_stopping: when a stage ends by its validations, by which, what can never act, and what is said of it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes import ROOT
from recipes.common.errors import ExperimentError
from recipes.common.run_dir import RunDir, append_metrics, write_text
from recipes.data.datafiles import locate, prepared
from recipes.flags.effect import refuse_without_effect
from recipes.flags.resolve import build_experiment
from recipes.run.build_stages import refuse_idle_patience, stages, training_plan
from recipes.run.closing import finish, validations
from recipes.run.dry_run import dry_run
from recipes.run.launch import launch
from recipes.run.stages import last_step
from recipes.settings.early_stopping import ACCURACY, ANSWERS_LOSS, HELD_OUT_LOSS, Criterion, ended, is_over
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import PROFILES
from recipes.verl_plugin.verl_config import rl_config, sft_config
from tests.helpers.front_checks import experiment, finished_on_disk, small_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("data") / "countdown")


def on_answers(algo: str, **flags: Any) -> Experiment:
    return build_experiment({"algo": algo, "data": "countdown_preference", **flags}, PROFILES["cpu"])


# --- the decision -----------------------------------------------------------------------------------------------------


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
    assert is_over([-value for value in values], patience, HELD_OUT_LOSS) is over


@given(st.lists(st.floats(0, 1), max_size=12), st.integers(1, 4))
def test_a_rising_curve_never_stops_and_a_falling_one_does(values: list[float], patience: int) -> None:
    rising = sorted({*values})
    assert not is_over(rising, patience)
    assert is_over(rising[::-1], patience) == (len(rising) > patience)
    assert is_over(rising, patience, ANSWERS_LOSS) == (len(rising) > patience)
    assert not is_over(rising[::-1], patience, ANSWERS_LOSS)


def test_only_validations_up_to_a_step_count_and_of_the_first_best_is_told() -> None:
    losses = {2: 0.5, 4: 0.4, 6: 0.4, 8: 0.3}
    rows = [{"step": step, "data": {"val/loss": loss}} for step, loss in losses.items()]
    rows += [{"step": 6, "data": {"train/loss": 9.0}}, {"step": 8, "data": {"val/acc": 0.0}}]
    assert HELD_OUT_LOSS.recorded(rows) == [0.5, 0.4, 0.4, 0.3]
    assert [ended(rows, 1, HELD_OUT_LOSS, step) for step in (0, 2, 4, 6, 8)] == [False, False, False, True, False]
    assert HELD_OUT_LOSS.best((loss, step) for step, loss in losses.items()) == (0.3, 8)
    assert ACCURACY.best((loss, step) for step, loss in {2: 0.5, 4: 0.7, 6: 0.7}.items()) == (0.7, 4)


# --- which stages it ends, by what ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algo", "by"), [("uft", [ACCURACY]), ("sft", [HELD_OUT_LOSS]), ("sft_rft", [HELD_OUT_LOSS, ACCURACY])]
)
def test_stages_on_problems_are_told_how_patient_to_be(
    algo: str, by: list[Criterion], folder: Path, tmp_path: Path
) -> None:
    e = experiment(folder, algo=algo, early_stopping=1, T=9)
    found = stages(e, RunDir(tmp_path / "run"), prepared(e, ROOT))
    assert [stage.validated for stage in found if stage.validated] == by
    paths = {"train_file": folder / "train.parquet", "test_file": folder / "test.parquet", "resume_from": None}
    for configure in (rl_config, sft_config):
        config = configure(e, run=RunDir(tmp_path), model=e.model, **paths)  # type: ignore[arg-type]
        assert config["uft"]["early_stopping"] == 1


@pytest.mark.parametrize("algo", ["sft", "dft", "dpo", "una", "una_sft"])
def test_stages_on_answers_are_ended_by_their_loss(algo: str, tmp_path: Path) -> None:
    e, run = on_answers(algo, early_stopping=2), RunDir(tmp_path / "run")
    files = locate(e, ROOT)
    refuse_without_effect({"early_stopping": 2}, [e])
    assert training_plan(e, run, files).early_stopping == 2
    assert [stage.validated for stage in stages(e, run, files) if stage.validated] == [ANSWERS_LOSS]


def test_ktos_loss_is_one_of_a_batch_and_ends_nothing(tmp_path: Path) -> None:
    e = on_answers("kto", early_stopping=2)
    with pytest.raises(ExperimentError, match="--early_stopping 2: has no effect on --algo kto on answers; it applies"):
        refuse_without_effect({"early_stopping": 2}, [e])
    assert not any(stage.validated for stage in stages(e, RunDir(tmp_path), locate(e, ROOT)))


# --- what can never act -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"early_stopping": 2}, "--early_stopping 2: .* would stop at step 4 at the earliest, and --T is 4"),
        ({"early_stopping": -1}, "--early_stopping -1: must not be negative"),
    ],
)
def test_a_value_that_no_reinforcement_run_could_use_is_refused(
    flags: dict[str, object], says: str, folder: Path
) -> None:
    with pytest.raises(ExperimentError, match=says):
        experiment(folder, **flags)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        # 40 rows in batches of 8 are 5 steps an epoch; validations of steps 2, 4 .. 10.
        (
            {"algo": "sft", "sft_epochs": 2, "early_stopping": 4},
            "sft on countdown at step 10 of 10 at the earliest; use",
        ),
        ({"algo": "sft", "sft_epochs": 2, "early_stopping": 3}, ""),
        (
            {"algo": "sft_rft", "sft_epochs": 1, "early_stopping": 2},
            "at step 6 of 5, sft_rft .* step 4 of 4",
        ),
        ({"algo": "sft_rft", "sft_epochs": 1, "early_stopping": 2, "T": 5}, ""),
        ({"algo": "sft_rft", "sft_epochs": 2, "early_stopping": 2}, ""),
    ],
)
def test_a_value_that_could_end_no_stage_is_refused_before_anything_is_written(
    flags: dict[str, Any], says: str, folder: Path, tmp_path: Path
) -> None:
    e, out = experiment(folder, **flags), tmp_path / "run"
    if not says:
        assert "supervised:" in dry_run(e, out)
        return
    with pytest.raises(ExperimentError, match=says):
        dry_run(e, out)
    with pytest.raises(ExperimentError, match=says):
        launch(e, out, resume=False, stall_minutes=1)
    assert not RunDir(out).experiment.exists()


def test_steps_that_are_not_known_yet_are_not_judged(tmp_path: Path) -> None:
    e = on_answers("dpo", early_stopping=9)
    found = stages(e, RunDir(tmp_path / "run"), locate(e, tmp_path))
    assert [stage.total_steps for stage in found if stage.validated] == [0]
    refuse_idle_patience(e, found)


# --- afterwards -------------------------------------------------------------------------------------------------------


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


def losses(run: RunDir, found: Mapping[int, float]) -> None:
    for step, loss in found.items():
        append_metrics(run.metrics, step, {"train/loss": 1.0})
        append_metrics(run.metrics, step, {"val/loss": loss})


def test_the_last_lines_say_which_stage_was_ended_by_what(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDir(tmp_path / "run")
    e = experiment(folder, algo="sft_rft", sft_epochs=3, early_stopping=1, T=9, own_texts=0)
    finished_on_disk(run, e)
    taught = RunDir(run.path / "sft")
    losses(taught, {2: 0.4, 4: 0.25, 6: 0.3})
    assert last_step(taught, 15) == 6
    for step in range(1, 10):
        append_metrics(run.metrics, step, {"val/acc": 0.9})
    (run.hf / "last").mkdir(parents=True)
    finish(e, run, prepared(e, ROOT), None)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("stopped")]
    assert line == (
        "stopped        sft on countdown, at step 6 of 15: the last validation had no lower val/loss than the previous "
        "best, 0.25 at step 4 (--early_stopping)"
    )
