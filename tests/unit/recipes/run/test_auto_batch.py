"""--auto_batch with real processes under the watchdog: a stage is out of memory until its micro-batch is small."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from recipes.estimate import kernels
from recipes.flags.resolve import build_experiment
from recipes.run.auto_batch import LEAST_ROLLOUT_MEMORY, difference, lower, run_fitting
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import PROFILES
from recipes.watch.signs import Limits
from recipes.watch.supervise import Outcome, supervise

# Stands for a trainer: a heartbeat, then either the end of its steps or what torch says when a GPU is full.
STAGE = """
import json, sys, time
from pathlib import Path
folder, phase, has, fits = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
def beat(phase, step):
    (folder / "new").write_text(json.dumps({"step": step, "total_steps": 1, "phase": phase, "time": time.time()}))
    (folder / "new").replace(folder / "progress.json")
beat(phase, 0)
if has > fits:
    raise RuntimeError(sys.argv[5])
beat("finished", 1)
"""
FULL = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB"


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> Experiment:
    monkeypatch.setattr(kernels, "flash_attention_installed", lambda: True)
    return build_experiment({"model": "Qwen/Qwen2.5-0.5B", "tokens_per_micro_batch": 32768}, PROFILES["1x80gb"])


def stage(folder: Path, setting: str, fits: float, *, phase: str = "update", says: str = FULL) -> tuple:
    """A stage that fails while `setting` is above `fits`, and the settings it was started with."""
    tried: list[Experiment] = []

    def attempt(e: Experiment) -> Outcome:
        tried.append(e)
        command = [sys.executable, "-c", STAGE, str(folder), phase, str(getattr(e, setting)), str(fits), says]
        limits = Limits(poll_s=0.05)
        return supervise(command, {}, folder, stall_minutes=1, total_steps=1, title="stage", limits=limits)

    return attempt, tried


def test_the_micro_batch_is_halved_until_it_fits(tmp_path: Path, experiment: Experiment) -> None:
    attempt, tried = stage(tmp_path, "tokens_per_micro_batch", 9000)
    outcome, last = run_fitting(experiment, attempt, tmp_path)
    assert outcome.exit_code == 0
    assert [e.tokens_per_micro_batch for e in tried] == [32768, 16384, 8192]
    assert last == replace(experiment, tokens_per_micro_batch=8192)


def test_what_a_mask_has_room_for_is_halved_without_flash_attention(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "flash_attention_installed", lambda: False)
    lowered = lower(experiment, "update")
    assert lowered == replace(experiment, tokens_per_micro_batch=4096)


def test_generating_lowers_the_engines_share(tmp_path: Path, experiment: Experiment) -> None:
    attempt, tried = stage(tmp_path, "rollout_memory", 0.35, phase="rollout")
    outcome, _ = run_fitting(experiment, attempt, tmp_path)
    assert outcome.exit_code == 0
    assert [e.rollout_memory for e in tried] == [0.5, 0.4, 0.3]


def test_it_ends_when_nothing_is_left_to_lower(tmp_path: Path, experiment: Experiment, capsys) -> None:
    small = replace(experiment, tokens_per_micro_batch=2000, rollout_memory=0.4)
    longest = small.max_prompt_length + small.response_length
    attempt, tried = stage(tmp_path, "tokens_per_micro_batch", 0)
    outcome, _ = run_fitting(small, attempt, tmp_path)
    assert outcome.exit_code != 0
    settings = [(e.tokens_per_micro_batch, e.rollout_memory) for e in tried]
    assert settings == [(2000, 0.4), (longest, 0.4), (longest, 0.3), (longest, LEAST_ROLLOUT_MEMORY)]
    assert "nothing left to lower" in capsys.readouterr().out


def test_another_failure_is_not_tried_again(tmp_path: Path, experiment: Experiment) -> None:
    attempt, tried = stage(tmp_path, "tokens_per_micro_batch", 0, says="the reward could not be scored")
    outcome, last = run_fitting(experiment, attempt, tmp_path)
    assert outcome.exit_code != 0
    assert len(tried) == 1
    assert last == experiment


def test_an_older_failure_in_the_log_is_not_taken_for_this_one(tmp_path: Path, experiment: Experiment) -> None:
    (tmp_path / "log.txt").write_text(f"torch.OutOfMemoryError: {FULL}\n")
    attempt, tried = stage(tmp_path, "tokens_per_micro_batch", 0, says="the reward could not be scored")
    run_fitting(experiment, attempt, tmp_path)
    assert len(tried) == 1


@pytest.mark.parametrize("phase", ["update", "old_log_prob", "starting"])
def test_lowering_changes_nothing_that_is_learned(phase: str, experiment: Experiment) -> None:
    lowered = lower(experiment, phase)
    assert lowered is not None
    assert lowered.tokens_per_micro_batch >= experiment.max_prompt_length + experiment.response_length
    assert replace(lowered, tokens_per_micro_batch=experiment.tokens_per_micro_batch) == experiment
    assert difference(experiment, lowered) == "--tokens_per_micro_batch 16384"
