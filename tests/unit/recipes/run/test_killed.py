"""A run that is killed before any system call of its checkpoints, publications and end goes on to the same files."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_prep.preference.toy import write_toy
from recipes.common import switch
from recipes.common.run_dir import RunDir, append_metrics
from recipes.run.launch import launch
from recipes.settings.saved import read_experiment
from recipes.watch.signals import ASKING
from tests.helpers.front_checks import experiment, forked, small_folder
from tests.helpers.stand_in import counted, kept, standing_in

KINDS: dict[str, dict[str, Any]] = {
    "reinforcement": {"algo": "uft"},
    "supervised": {"algo": "sft", "batch_size": 20, "mini_batch_size": 20, "sft_epochs": 1},
    "alignment": {"algo": "dpo", "batch_size": 16, "micro_batch_size": 16, "epochs": 1, "prompt_style": "completion"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("data") / "countdown")


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("answers")
    write_toy(place, n_train=32, n_test=8, seed=1)
    return place


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_killed_before_any_call_goes_on_to_the_same_files(
    kind: str, folder: Path, answers: Path, tmp_path: Path
) -> None:
    data = answers if kind == "alignment" else folder
    e = experiment(data, **{"T": 2, "own_texts": 0, "keep_checkpoints": 1, **KINDS[kind]})
    go = partial(launch, e, resume=True, stall_minutes=1)
    with standing_in():
        assert go(tmp_path / "whole") == 0
        expected = kept(tmp_path / "whole")
        best = set() if kind == "alignment" else {"hf/best/model.safetensors"}
        assert {"done.json", "summary.json", "hf/last/model.safetensors", *best} <= {*expected}
        calls = counted(partial(go, tmp_path / "counted"), tmp_path / "counted")
        assert calls > 80
        for number in range(1, calls + 1):
            out = tmp_path / str(number)
            counted(partial(go, out), out, kill_before=number)
            assert go(out) == 0
            assert kept(out) == expected, f"killed before call {number} of {calls}"


def test_a_run_asked_to_stop_before_any_call_gives_back_its_folder_and_goes_on_to_the_same_files(
    folder: Path, tmp_path: Path
) -> None:
    e = experiment(folder, T=2, own_texts=0, keep_checkpoints=1)
    go = partial(launch, e, resume=True, stall_minutes=1)
    with standing_in():
        assert go(tmp_path / "whole") == 0
        expected = kept(tmp_path / "whole")
        calls = counted(partial(go, tmp_path / "counted"), tmp_path / "counted")
        for number in range(1, calls + 1):
            out, by = tmp_path / str(number), ASKING[number % len(ASKING)]
            counted(partial(go, out), out, kill_before=number, by=by)
            assert not (out / "run.lock").exists()
            assert go(out) == 0
            assert kept(out) == expected, f"{by.name} before call {number} of {calls}"


def test_of_two_that_start_at_once_one_owns_the_run(folder: Path, tmp_path: Path) -> None:
    for number in range(4):
        out = tmp_path / str(number)
        runs = [experiment(folder, T=2, own_texts=0, seed=seed) for seed in (5, 6)]
        with standing_in(), ThreadPoolExecutor(2) as both:
            starts = [partial(launch, e, out, resume=False, stall_minutes=1) for e in runs]
            codes = [done.returncode for done in both.map(forked, starts)]
        # The other is refused: the run is under way, or in the folder already.
        assert sorted(codes) == [0, 70]
        owner = runs[codes.index(0)]
        assert read_experiment(out / "experiment.yaml").seed == owner.seed
        assert yaml.safe_load((out / "verl.yaml").read_text())["data"]["seed"] == owner.seed
        assert (out / "done.json").exists()


def test_where_folders_cannot_be_exchanged_a_publication_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switch, "exchange", lambda *_: False)

    def write(run: RunDir, step: int) -> None:
        folder = run.checkpoints / f"global_step_{step}"
        for name in ("huggingface", "adapter"):
            (folder / "actor" / name).mkdir(parents=True)
            (folder / "actor" / name / "model.safetensors").write_text(f"{name} of step {step}")
        append_metrics(run.metrics, step, {"val/acc": step / 10})
        run.checkpoint_written(folder, folder / "actor/huggingface", step, step / 10, keep=1)

    def begun(name: str) -> RunDir:
        run = RunDir(tmp_path / name)
        write(run, 1)
        return run

    whole = begun("whole")
    calls = counted(partial(write, whole, 2), whole.path)
    for number in range(1, calls + 1):
        run = begun(str(number))
        counted(partial(write, run, 2), run.path, kill_before=number)
        run.tidy()
        run.republish()
        if (run.hf / "last/model.safetensors").read_text().endswith("1"):
            write(run, 2)
        for name, text in (("last", "huggingface"), ("best", "huggingface"), ("adapter", "adapter")):
            assert (run.hf / name / "model.safetensors").read_text() == f"{text} of step 2", number
        assert {path.name for path in run.hf.iterdir()} == {"last", "best", "adapter", "last.json", "best.json"}
