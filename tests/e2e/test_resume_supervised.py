"""kill -9 of a supervised run, then --resume: the same rows in the same order, the same losses."""

from pathlib import Path

import pytest

from recipes.common.run_dir import RunDir, complete_checkpoints
from tests.e2e.support import kill_after, metrics, run, without_times

pytestmark = pytest.mark.e2e

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
