"""The front door: what is printed without starting anything, who may use a folder, and the order of stages."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from data_prep.countdown import generate as countdown
from recipes.algorithms import algorithms
from recipes.common.errors import ExperimentError
from recipes.common.run_dir import RunDir, write_text
from recipes.data.datafiles import locate
from recipes.flags.resolve import build_experiment
from recipes.run.build_stages import stages
from recipes.run.launch import launch
from recipes.run.resume import check_folder
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import PROFILES
from recipes.settings.saved import to_yaml
from run import main
from tests import ROOT
from tests.helpers.front_checks import front_door


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data") / "countdown"
    countdown.prepare(data, n_train=40, n_test=16, seed=0)
    return data


def experiment(folder: Path, **flags: object) -> Experiment:
    return build_experiment({"data": str(folder), "batch_size": 8, **flags}, PROFILES["cpu"])


@pytest.mark.parametrize("algo", algorithms())
def test_a_dry_run_shows_the_arithmetic_and_the_configuration_and_writes_nothing(
    algo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    out = tmp_path / "run"
    kinds = algorithms()[algo].stages
    data = "countdown_preference" if "alignment" in kinds else "countdown"
    flags = ("--algo", algo, "--data", data, "--profile", "h100x2", "--model", "Qwen/Qwen2.5-0.5B", "--out", str(out))
    # In this process: a fresh one for each algorithm would be most of the time.
    assert main([*flags, "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert len(said.splitlines()) <= 32, "one screen"
    assert "0.494 B parameters" in said
    shown = algorithms()[algo].demonstrations
    rows = "(4 rollouts + 1 demonstration) = 1280" if shown else "4 rollouts = 1024"
    arithmetic = {
        "rl": f"256 prompts x {rows} sequences per step, 4 update(s) of {320 if shown else 256} on 2 device(s)",
        "sft": "10240 rows / 256 per step x 5 epochs = 200 steps",
        "alignment": "per step = 2 x 4 micro-batches x 2 device(s), 2 epochs",
    }
    for kind in kinds:
        assert arithmetic[kind] in said
    assert not out.exists()


@pytest.mark.parametrize("algo", ["uft", "sft", "dpo"])
def test_a_full_dry_run_shows_environment_commands_and_configuration(algo: str, tmp_path: Path) -> None:
    data = ("--data", "countdown_preference") if algo == "dpo" else ()
    done = front_door("--algo", algo, *data, "--profile", "cpu", "--out", str(tmp_path / "run"), "--dry_run", "full")
    assert done.returncode == 0, done.stderr
    for part in ("environment:", "commands:", "trl.yaml:" if algo == "dpo" else "(overrides of verl's"):
        assert part in done.stdout, part


def test_a_mistake_is_one_line_and_exit_code_2() -> None:
    done = front_door("--algo", "utf")
    assert done.returncode == 2
    assert done.stderr.strip().count("\n") == 0
    assert "did you mean 'uft'?" in done.stderr


def test_verl_overrides_go_behind_two_dashes() -> None:
    done = front_door("--dry_run", "full", "--profile", "cpu", "--", "trainer.balance_batch=False", "+trainer.b=1")
    assert done.returncode == 0, done.stderr
    assert "trainer.balance_batch=False +trainer.b=1" in done.stdout


def test_stages_run_in_order_and_each_starts_from_the_last(folder: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path)

    def titles(algo: str) -> list[str]:
        e = experiment(folder, algo=algo)
        found = stages(e, run, locate(e, ROOT))
        assert found[-1].title == "measuring forgetting"
        assert [stage.may_fail for stage in found] == [False] * (len(found) - 1) + [True]
        without = stages(replace(e, own_texts=0), run, locate(e, ROOT))
        assert [stage.title for stage in without] == [stage.title for stage in found[:-1]]
        return [stage.title for stage in without]

    assert titles("uft") == ["uft on countdown"]
    assert titles("sft") == ["evaluating the base model", "sft on countdown", "evaluating the trained model"]
    assert titles("dft") == ["evaluating the base model", "dft on countdown", "evaluating the trained model"]
    assert titles("sft_rft") == ["evaluating the base model", "sft on countdown", "sft_rft on countdown"]


@pytest.mark.parametrize("algo", ["sft", "sft_rft"])
def test_the_base_is_measured_as_the_validations_are(algo: str, folder: Path, tmp_path: Path) -> None:
    """And so is the model after `sft`: else a sweep compares greedy answers with sampled ones."""
    for flags, expected in (({}, [1, 0.0]), ({"val_samples": 4, "temperature": 0.7}, [4, 0.7])):
        e, run = experiment(folder, algo=algo, **flags), RunDir(tmp_path / str(len(flags)))
        evaluations = [stage for stage in stages(e, run, locate(e, ROOT)) if stage.title.startswith("evaluating")]
        for stage in evaluations:
            stage.folder.path.mkdir(parents=True)
            stage.prepare(tmp_path)
            settings = json.loads((stage.folder.path / "evaluate.json").read_text())["settings"]
            assert [settings["n_samples"], settings["temperature"]] == expected
        assert len(evaluations) == (2 if algo == "sft" else 1)


def test_a_folder_belongs_to_one_run(folder: Path, tmp_path: Path) -> None:
    run, first = RunDir(tmp_path / "run"), experiment(folder, T=12, T_hint=5, test_freq=3)
    check_folder(run, first, resume=False)
    write_text(run.experiment, to_yaml(first))
    with pytest.raises(ExperimentError, match="already holds a run; add --resume"):
        check_folder(run, first, resume=False)
    check_folder(run, first, resume=True)
    with pytest.raises(ExperimentError, match=r"was started with lr 0\.0005, now it is 0\.1"):
        check_folder(run, experiment(folder, T=12, T_hint=5, test_freq=3, lr=0.1), resume=True)
    with pytest.raises(ExperimentError, match="extended, not shortened"):
        check_folder(run, experiment(folder, T=9, T_hint=5, test_freq=3), resume=True)


def test_a_run_that_its_data_forbid_leaves_the_folder_free(folder: Path, tmp_path: Path) -> None:
    """Fixing the data and starting again must not need --resume or another folder."""
    run = tmp_path / "run"
    few = experiment(folder, batch_size=64, mini_batch_size=64)
    with pytest.raises(ExperimentError, match="fewer than --batch_size 64"):
        launch(few, run, resume=False, stall_minutes=1)
    assert not run.exists()


def test_a_run_can_be_extended(folder: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    write_text(run.experiment, to_yaml(experiment(folder, T=20, T_hint=18)))
    longer = experiment(folder, T=40, T_hint=18)
    check_folder(run, longer, resume=True)


def test_a_clock_that_a_larger_T_moves_is_nothing_to_an_algorithm_without_one(folder: Path, tmp_path: Path) -> None:
    run, begun = RunDir(tmp_path / "run"), experiment(folder, algo="r3", T=4)
    write_text(run.experiment, to_yaml(begun))
    longer = experiment(folder, algo="r3", T=8)
    assert longer.T_hint != begun.T_hint
    check_folder(run, longer, resume=True)
    write_text(run.experiment, to_yaml(experiment(folder, algo="uft", T=4)))
    with pytest.raises(ExperimentError, match="was started with T_hint 4, now it is 8"):
        check_folder(run, experiment(folder, algo="uft", T=8), resume=True)


def test_a_file_without_a_needed_column_is_named(folder: Path, tmp_path: Path) -> None:
    import pandas as pd

    bare = tmp_path / "bare"
    bare.mkdir()
    for split in ("train", "test"):
        pd.read_parquet(folder / f"{split}.parquet").drop(columns=["hint"]).to_parquet(bare / f"{split}.parquet")
    assert locate(experiment(bare, algo="rft"), ROOT).n_train == 40
    with pytest.raises(ExperimentError, match=r"test\.parquet: no column 'hint'; --algo uft needs"):
        locate(experiment(bare, algo="uft"), ROOT)
    (bare / "test.parquet").unlink()
    with pytest.raises(ExperimentError, match=r"test\.parquet does not exist"):
        locate(experiment(bare, algo="rft"), ROOT)


def test_a_saved_experiment_of_another_version_is_refused(folder: Path, tmp_path: Path) -> None:
    run, e = RunDir(tmp_path / "run"), experiment(folder)
    write_text(run.experiment, to_yaml(e) + "surprise: 1\n")
    with pytest.raises(ExperimentError, match="differs in: surprise"):
        check_folder(run, e, resume=True)


def test_a_memory_of_problems_that_come_up_once_is_told() -> None:
    says = "gives hints for problems that have failed before, and no problem is drawn twice in"
    once = front_door("--dry_run", "--profile", "cpu", "--algo", "pope", "--T", "9").stdout
    assert f"{says} 9 steps: --T 256 is two passes" in once
    longer = front_door("--dry_run", "--profile", "cpu", "--algo", "pope", "--T", "200").stdout
    other = front_door("--dry_run", "--profile", "cpu", "--algo", "adaback", "--T", "9").stdout
    assert says not in longer + other
