"""kill -9 in mid-run, then --resume: the same hints, sampled texts, memory and steps as without the kill."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from data_prep.countdown import generate as countdown
from recipes.algorithms.losses.overlong import overlong
from recipes.common.run_dir import RunDir, complete_checkpoints
from recipes.watch.processes import processes_of
from tests.e2e.memory_algorithm import OPTIONS
from tests.e2e.support import RL, ROOT, kill_after, metrics, rollouts, run, without_times

pytestmark = pytest.mark.e2e

STEPS, KILLED_AFTER = 6, 3
MEMORY = str(ROOT / "tests/e2e/memory_algorithm.py")
FLAGS = ("--algo", MEMORY, "--T", str(STEPS), "--val_size", "16", "--val_samples", "4", *RL)


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


N = 2
"""Rollouts of a prompt: often alike."""

SAMPLING = ("--algo", "rft", "--T", "3", "--batch_size", "8", "--n_rollout", str(N), "--log_rollouts", "-1")
OFTEN = ("--seed", "5", "--test_freq", "1", "--val_size", "8")
DAPO = ("--dynamic_sampling", "--overlong_buffer", "30", "--overlong_penalty", "0.5", "--clip_ratio_high", "0.28")


def test_a_run_that_draws_again_repeats_its_draws_when_it_is_killed(
    tmp_path: Path, small_data: Path, serve: dict[str, str]
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    flags = (*SAMPLING, *OFTEN, *DAPO, "--data", str(small_data))
    run(whole, *flags, env=serve)
    kill_after(killed, 2, *flags, "--own_texts", "0")
    run(killed, *flags, "--resume", env=serve)
    expected, found = metrics(whole), metrics(killed)
    assert sorted(found) == sorted(expected) == list(range(4))
    drawn = {step: int(expected[step]["uft/prompts_drawn"]) for step in (1, 2, 3)}
    assert max(drawn.values()) > 8, "nothing was drawn again"
    for step in (1, 2, 3):
        lines, known = rollouts(whole, step), expected[step]
        assert rollouts(killed, step) == lines, f"texts of step {step} differ"
        again, first = without_times(found[step]), without_times(known)
        assert again.keys() == first.keys()
        assert again == pytest.approx(first, rel=1e-3, abs=1e-5), f"step {step}"
        groups = defaultdict(list)
        for line in lines:
            groups[line["prompt"]].append(line)
        assert [len(group) for group in groups.values()] == [N] * 8
        flat = sum(len({line["score"] for line in group}) == 1 for group in groups.values())
        assert known["uft/groups_filled_up"] == pytest.approx(flat / 8)
        assert known["uft/groups_kept"] == pytest.approx((8 - flat) / drawn[step])
        if flat:
            # Three rounds, and whatever differed is trained on.
            assert known["uft/sampling_rounds"] == 3
            assert known["uft/groups_without_variance"] == pytest.approx(1 - (8 - flat) / drawn[step])
        kept = sum(line["gen_tokens"] for line in lines)
        assert known["uft/generated"] == pytest.approx(kept + known["uft/thrown_tokens"])
        penalties = [0.5 * overlong(line["gen_tokens"], longest=64, buffer=30) for line in lines]
        assert known["uft/overlong_penalty"] == pytest.approx(sum(penalties) / len(lines))
        assert known["critic/score/mean"] == pytest.approx(sum(line["score"] for line in lines) / len(lines), abs=1e-6)
        gap = known["critic/rewards/mean"] - known["critic/score/mean"]
        assert gap == pytest.approx(known["uft/overlong_penalty"], abs=1e-6)
