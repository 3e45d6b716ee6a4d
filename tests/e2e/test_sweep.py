"""A sweep of two real runs side by side on one machine, to its table and report."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.support import ROOT, metrics

pytestmark = [pytest.mark.e2e, pytest.mark.extended]


def test_two_runs_at_a_time_finish_and_are_not_made_again(small_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    # sft: the lightest. Runs with a Ray each are side by side wherever these tests are run two at a time.
    flags = ["--algo", "sft", "--data", str(small_data), "--seeds", "3,4"]
    flags += ["--batch_size", "8", "--val_size", "8", "--stall_minutes", "8", "--own_texts", "0"]
    flags += ["--profile", "cpu", "--out", str(out)]
    command = [sys.executable, str(ROOT / "run.py"), "--sweep", *flags, "--parallel", "2"]

    def sweep() -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=dict(os.environ))
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-3000:]
        return done.stdout

    printed = sweep()
    runs = ("sft-countdown-s3", "sft-countdown-s4")
    for name in runs:
        found = metrics(out / name)
        assert "val/acc" in found[max(found)]
        assert f"[{name}] starts" in printed
        assert f"[{name}] finished" in printed
    # Both had begun before one ended.
    assert max(printed.index(f"[{name}] starts") for name in runs) < printed.index("] finished")
    state = json.loads((out / "sweep.json").read_text())["runs"]
    assert {name: entry["state"] for name, entry in state.items()} == dict.fromkeys(runs, "finished")
    assert (out / "summary.csv").read_text().count("\n") == 2
    assert (out / "report" / "curves.png").exists()
    before = {name: (out / name / "metrics.jsonl").read_bytes() for name in runs}
    assert "2 runs, 2 finished" in sweep()
    assert before == {name: (out / name / "metrics.jsonl").read_bytes() for name in runs}
