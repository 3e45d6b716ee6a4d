"""kill -9 in mid-run, then --resume: the same hints, sampled texts, data order and steps as without the kill."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from recipes.run_dir import RunDir, complete_checkpoints
from recipes.watch.processes import processes_of
from tests.e2e.support import ROOT, UFT, metrics, rollouts, run

pytestmark = pytest.mark.e2e

SFT = ("--algo", "sft", "--sft_epochs", "2", "--batch_size", "16", "--test_freq", "2")


def kill_after(out: Path, step: int, *flags: str) -> None:
    """Start run.py, wait until it has recorded `step`, and kill it with everything it started, all at once."""
    command = [sys.executable, str(ROOT / "run.py"), "--profile", "cpu", "--out", str(out), *flags]
    front = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    limit = time.time() + 400
    while not any("actor/loss" in data or "train/loss" in data for at, data in metrics(out).items() if at >= step):
        assert front.poll() is None, (out / "log.txt").read_text()[-3000:]
        assert time.time() < limit, "the run never came to the step it was to be killed at"
        time.sleep(0.05)
    everything = [psutil.Process(front.pid), *processes_of(out)]
    for process in everything:
        with contextlib.suppress(psutil.NoSuchProcess):
            os.kill(process.pid, signal.SIGKILL)
    front.wait()


def without_times(data: dict[str, float]) -> dict[str, float]:
    """Metrics that a run is expected to repeat."""
    kept = ("uft/", "critic/score", "reward/", "val/acc", "actor/hint_nll", "actor/pg_loss", "train/loss", "val/loss")
    return {name: value for name, value in data.items() if name.startswith(kept)}


def test_a_killed_reinforcement_run_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, small_data: Path, uft_run: Path
) -> None:
    whole, killed = uft_run, tmp_path / "killed"
    kill_after(killed, 3, *UFT, "--data", str(small_data))
    assert 2 <= max(step for step, _ in complete_checkpoints(RunDir(killed).checkpoints)) < 6
    refused = run(killed, *UFT, "--data", str(small_data), check=False)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    run(killed, *UFT, "--data", str(small_data), "--resume")
    expected, found = metrics(whole), metrics(killed)
    assert sorted(found) == sorted(expected) == list(range(7))
    for step in range(1, 7):
        assert rollouts(killed, step) == rollouts(whole, step), f"texts of step {step} differ"
        assert found[step]["uft/rollout_digest"] == expected[step]["uft/rollout_digest"]
    for step in range(7):
        again, first = without_times(found[step]), without_times(expected[step])
        assert again.keys() == first.keys()
        assert again == pytest.approx(first, rel=1e-3, abs=1e-5), f"step {step}"
    assert not processes_of(killed)


def test_a_killed_supervised_run_sees_the_same_rows_in_the_same_order(tmp_path: Path, small_data: Path) -> None:
    """64 rows in batches of 16 for two epochs: killed in the second, resumed from the end of the first (step 4)."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(whole, *SFT, "--data", str(small_data))
    kill_after(killed, 5, *SFT, "--data", str(small_data))
    assert [step for step, _ in complete_checkpoints(RunDir(killed).checkpoints)][-1] in (4, 6)
    run(killed, *SFT, "--data", str(small_data), "--resume")
    expected, found = metrics(whole), metrics(killed)
    assert sorted(found) == sorted(expected) == list(range(9))
    for step in range(9):
        assert without_times(found[step]) == pytest.approx(without_times(expected[step]), rel=1e-4), f"step {step}"
