"""kill -9, then --resume, of every other trainer: the metrics, texts and weights of a run without the kill."""

import json
import shlex
from pathlib import Path

import pytest
import yaml

from recipes.common.run_dir import RunDir, complete_checkpoints
from tests.e2e.support import OF_THE_MACHINE, kill_after, kill_when, metrics, rollouts, run, without_times

pytestmark = [pytest.mark.e2e, pytest.mark.extended]

ANSWERS = shlex.split("--prompt_style completion --epochs 3 --batch_size 16 --test_freq 4 --own_texts 0")
METHODS = {"sft": (), "dpo": (), "kto": (), "una": ("--feedback", "score"), "una_sft": ()}
ONLINE = shlex.split(
    "--T 3 --batch_size 8 --n_rollout 2 --val_size 8 --test_freq 1 --own_texts 0 --log_rollouts -1 --seed 5"
)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from data_prep.preference.toy import write_toy

    folder = tmp_path_factory.mktemp("answers")
    write_toy(folder, n_train=64, n_test=8, seed=1)
    return folder


def expect_same(killed: Path, whole: Path) -> None:
    """Every number but those of the machine, to the digit, and the same weights."""
    expected, found = metrics(whole), metrics(killed)
    assert sorted(found) == sorted(expected)
    for step, numbers in expected.items():
        known = {name: value for name, value in numbers.items() if not _is_of_the_machine(name)}
        again = {name: value for name, value in found[step].items() if not _is_of_the_machine(name)}
        assert again == pytest.approx(known, rel=1e-6, abs=1e-9), f"step {step}"
    one, other = (RunDir(folder).hf / "last/model.safetensors" for folder in (killed, whole))
    assert one.read_bytes() == other.read_bytes()


def expect_same_online(killed: Path, whole: Path) -> None:
    """Every text; numbers but for the order of sums."""
    expected, found = metrics(whole), metrics(killed)
    assert sorted(found) == sorted(expected) == list(range(4))
    for step in range(1, 4):
        assert rollouts(killed, step) == rollouts(whole, step), f"texts of step {step} differ"
        again, first = without_times(found[step]), without_times(expected[step])
        assert again.keys() == first.keys()
        assert again == pytest.approx(first, rel=1e-3, abs=1e-5), f"step {step}"


def _is_of_the_machine(name: str) -> bool:
    return name.startswith((*OF_THE_MACHINE, "train/time", "train/runtime")) or "second" in name or "memory" in name


@pytest.mark.parametrize("algo", METHODS)
def test_a_killed_alignment_goes_on(algo: str, answers: Path, tmp_path: Path) -> None:
    flags = ("--algo", algo, *METHODS[algo], "--data", str(answers), *ANSWERS)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(whole, *flags)
    last = max(metrics(whole))
    assert last >= 8
    kill_after(killed, 6, *flags)
    saved = [step for step, _ in complete_checkpoints(RunDir(killed).checkpoints)]
    assert saved
    assert saved[-1] < last
    run(killed, *flags, "--resume")
    expect_same(killed, whole)


@pytest.mark.parametrize("algo", ["ppo", "una_online"])
def test_a_killed_online_training_goes_on(algo: str, tmp_path: Path, small_data: Path) -> None:
    flags = ("--algo", algo, "--data", str(small_data), *ONLINE)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(whole, *flags)
    kill_after(killed, 2, *flags)
    run(killed, *flags, "--resume")
    expect_same_online(killed, whole)


def test_a_pipeline_goes_on_in_the_stage_that_was_killed(answers: Path, tmp_path: Path, small_data: Path) -> None:
    """Killed in each of its stages, on TRL and on verl."""
    on_answers = {"data": str(answers), "flags": {"epochs": 3, "batch_size": 16, "test_freq": 4}}
    online = {"T": 3, "batch_size": 8, "n_rollout": 2, "val_size": 8, "test_freq": 1, "log_rollouts": -1}
    stages = [{"algo": "sft", **on_answers}, {"algo": "una", **on_answers}]
    stages.append({"algo": "rft", "data": str(small_data), "flags": online})
    file = tmp_path / "stages.yaml"
    file.write_text(yaml.safe_dump(stages))
    flags = ("--pipeline", str(file), "--prompt_style", "completion", "--own_texts", "0", "--seed", "5")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(whole, *flags)
    for number, (stage, steps) in enumerate({"1-sft": 2, "2-una": 6, "3-rft": 2}.items()):
        kill_after(killed, steps, *flags, *(["--resume"] if number else []), stage=stage)
    run(killed, *flags, "--resume")
    for stage in ("1-sft", "2-una"):
        expect_same(killed / stage, whole / stage)
    expect_same_online(killed / "3-rft", whole / "3-rft")


def test_two_stages_of_one_run_go_on_where_they_were_killed(tmp_path: Path, small_data: Path) -> None:
    flags = ("--algo", "sft_rft", "--sft_epochs", "1", "--data", str(small_data), *ONLINE)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(whole, *flags)
    kill_after(killed, 3, *flags, stage="sft")
    kill_after(killed, 2, *flags, "--resume")
    run(killed, *flags, "--resume")
    for stage in ("sft", "."):
        expected, found = metrics(whole / stage), metrics(killed / stage)
        assert sorted(found) == sorted(expected)
        for step, numbers in expected.items():
            assert without_times(found[step]) == pytest.approx(without_times(numbers), rel=1e-3, abs=1e-5), (
                stage,
                step,
            )
    for step in range(1, 4):
        assert rollouts(killed, step) == rollouts(whole, step), f"texts of step {step} differ"


def test_an_evaluation_goes_on_with_what_is_left(tmp_path: Path, small_data: Path) -> None:
    flags = ("--eval", "--data", f"{small_data},chain", "--val_size", "24", "--n_samples", "2", "--seed", "3")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(whole, *flags)
    parts = [folder.parent.name for folder in whole.glob("*/results.json")]
    assert len(parts) == 2
    first = next(name for name in parts if name != "chain")
    kill_when(lambda: (killed / first / "results.json").exists(), killed, *flags, stage="chain")
    before = (killed / first / "results.json").stat().st_mtime_ns
    run(killed, *flags)
    assert (killed / first / "results.json").stat().st_mtime_ns == before, "what was finished was done again"
    for part in parts:
        one, other = (
            [json.loads(line) for line in (folder / part / "items.jsonl").read_text().splitlines()]
            for folder in (killed, whole)
        )
        assert one == other
