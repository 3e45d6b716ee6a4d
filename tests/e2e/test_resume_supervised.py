"""kill -9 of a supervised run, then --resume: the same rows in the same order, the same losses, the same early end."""

import json
from pathlib import Path

import pytest

from recipes.common.run_dir import RunDir, complete_checkpoints
from tests.e2e.support import kill_after, metrics, run, without_times

pytestmark = pytest.mark.e2e

# Nothing is learned, so that every validation is as good as the first: over after step 3, between two checkpoints.
STOPPING = ("--algo", "sft", "--sft_epochs", "1", "--batch_size", "8", "--sft_lr", "1e-30", "--early_stopping", "2")
OFTEN = ("--test_freq", "1", "--save_freq", "2", "--val_size", "4")
SFT = ("--algo", "sft", "--sft_epochs", "2", "--batch_size", "16", "--test_freq", "2")


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


def test_a_killed_supervised_run_is_ended_by_what_was_validated_before_the_kill(
    tmp_path: Path, small_data: Path
) -> None:
    out, flags = tmp_path / "run", (*STOPPING, *OFTEN, "--data", str(small_data))
    kill_after(out, 3, *flags)
    said = run(out, *flags, "--resume").stdout
    assert "stopped        at step 3 of 8: none of the last 2 validations had a lower val/loss" in said
    found = metrics(out)
    assert sorted(found) == [0, 1, 2, 3]
    assert {"train/loss", "val/loss", "val/acc"} <= found[3].keys()
    assert [step for step, _ in complete_checkpoints(RunDir(out).checkpoints)] == [2, 3]
    assert json.loads((out / "hf/last.json").read_text()) == {"step": 3}
    # As a kill leaves it between the last checkpoint and done.json.
    (out / "done.json").unlink()
    run(out, *flags, "--resume")
    assert metrics(out) == found
