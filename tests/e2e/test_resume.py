"""kill -9 in mid-run, then --resume: the same hints, sampled texts, memory and steps as without the kill."""

import json
from pathlib import Path
from typing import Any

import pytest

from data_prep import countdown
from recipes.run_dir import RunDir, complete_checkpoints
from recipes.watch.processes import processes_of
from tests.e2e.memory_algorithm import OPTIONS
from tests.e2e.support import RL, ROOT, kill_after, metrics, rollouts, run, without_times

pytestmark = pytest.mark.e2e

STEPS, KILLED_AFTER = 6, 3
FLAGS = ("--algo", str(ROOT / "tests/e2e/memory_algorithm.py"), "--T", str(STEPS), "--val_size", "16", *RL)


def memory(out: Path, step: int) -> dict[str, Any]:
    return json.loads((RunDir(out).checkpoints / f"global_step_{step}/memory.json").read_text())


def test_a_killed_reinforcement_run_goes_on_as_if_nothing_had_happened(tmp_path: Path, serve: dict[str, str]) -> None:
    whole, killed, data = tmp_path / "whole", tmp_path / "killed", tmp_path / "countdown"
    # Every problem comes back after two steps of eight.
    countdown.prepare(data, n_train=16, n_test=16, seed=0, max_number=30, operators="+-*")
    kill_after(killed, KILLED_AFTER, *FLAGS, "--data", str(data))
    left_at = max(step for step, _ in complete_checkpoints(RunDir(killed).checkpoints))
    assert 2 <= left_at < STEPS
    left = memory(killed, left_at)
    assert len(left["past"]) == 16
    assert 0 < len(left["common"]["waiting"]) < OPTIONS.unsolved_buffer
    refused = run(killed, *FLAGS, "--data", str(data), check=False)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    run(killed, *FLAGS, "--data", str(data), "--resume")
    # Last: the system that makes it stays up.
    run(whole, *FLAGS, "--data", str(data), env=serve)
    expected, found = metrics(whole), metrics(killed)
    assert sorted(found) == sorted(expected) == list(range(STEPS + 1))
    for step in range(1, STEPS + 1):
        assert rollouts(killed, step) == rollouts(whole, step), f"texts of step {step} differ"
        assert found[step]["uft/rollout_digest"] == expected[step]["uft/rollout_digest"]
    for step in range(STEPS + 1):
        again, first = without_times(found[step]), without_times(expected[step])
        assert again.keys() == first.keys()
        assert again == pytest.approx(first, rel=1e-3, abs=1e-5), f"step {step}"
    assert memory(killed, STEPS) == memory(whole, STEPS)
    after = range(left_at + 1, STEPS + 1)
    assert any(found[step].get("due/rows") for step in after), "the buffer came due with what it held at the kill"
    assert {line["share"] for step in after for line in rollouts(killed, step)} - {0.0}
    assert not processes_of(killed)
