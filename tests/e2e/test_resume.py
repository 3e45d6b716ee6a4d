"""kill -9 in mid-run, then --resume: the same hints, sampled texts and steps as without the kill."""

from pathlib import Path

import pytest

from recipes.run_dir import RunDir, complete_checkpoints
from recipes.watch.processes import processes_of
from tests.e2e.support import UFT, kill_after, metrics, rollouts, run, without_times

pytestmark = pytest.mark.e2e


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
