"""A sweep of two real runs side by side on one machine, to its table and report; and one whose front is killed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from recipes.watch.processes import processes_of
from tests.e2e.support import ROOT, metrics, without_times
from tests.helpers.watch_checks import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.extended]

RUNS = ("sft-countdown-s3", "sft-countdown-s4")


def command(out: Path, data: Path) -> list[str]:
    # sft: the lightest. Runs with a Ray each are side by side wherever these tests are run two at a time.
    flags = ["--algo", "sft", "--data", str(data), "--seeds", "3,4", "--batch_size", "8", "--val_size", "8"]
    flags += ["--save_freq", "1", "--test_freq", "1", "--stall_minutes", "8", "--own_texts", "0", "--profile", "cpu"]
    return [sys.executable, str(ROOT / "run.py"), "--sweep", *flags, "--parallel", "2", "--out", str(out)]


def sweep(out: Path, data: Path) -> str:
    done = subprocess.run(command(out, data), capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def swept(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A sweep, and what it printed."""
    out = tmp_path_factory.mktemp("sweep") / "whole"
    return out, sweep(out, small_data)


def test_two_runs_at_a_time_finish_and_are_not_made_again(swept: tuple[Path, str], small_data: Path) -> None:
    out, printed = swept
    for name in RUNS:
        found = metrics(out / name)
        assert "val/acc" in found[max(found)]
        assert f"[{name}] starts" in printed
        assert f"[{name}] finished" in printed
    # Both had begun before one ended.
    assert max(printed.index(f"[{name}] starts") for name in RUNS) < printed.index("] finished")
    state = json.loads((out / "sweep.json").read_text())["runs"]
    assert {name: entry["state"] for name, entry in state.items()} == dict.fromkeys(RUNS, "finished")
    assert (out / "summary.csv").read_text().count("\n") == 2
    assert (out / "report" / "curves.png").exists()
    before = {name: (out / name / "metrics.jsonl").read_bytes() for name in RUNS}
    assert "2 runs, 2 finished" in sweep(out, small_data)
    assert before == {name: (out / name / "metrics.jsonl").read_bytes() for name in RUNS}


def test_a_sweep_whose_front_is_killed_goes_on_to_the_same_runs(
    swept: tuple[Path, str], small_data: Path, tmp_path: Path
) -> None:
    whole, out = swept[0], tmp_path / "killed"
    front = subprocess.Popen(command(out, small_data), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    wait_until(lambda: any("train/loss" in metrics(out / name).get(3, {}) for name in RUNS), 300)
    front.kill()
    front.wait()
    # At once, while they are still ending.
    assert "2 runs, 0 finished" in sweep(out, small_data)
    assert not any(processes_of(out / name) for name in RUNS)
    for name in RUNS:
        found, expected = metrics(out / name), metrics(whole / name)
        assert sorted(found) == sorted(expected)
        for step, numbers in expected.items():
            assert without_times(found[step]) == pytest.approx(without_times(numbers), rel=1e-4), f"{name}, {step}"
        one, other = (folder / name / "hf/last/model.safetensors" for folder in (out, whole))
        assert one.read_bytes() == other.read_bytes()
