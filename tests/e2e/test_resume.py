"""kill -9 in mid-run, then --resume: the same hints, sampled texts and steps as without the kill."""

from collections import defaultdict
from pathlib import Path

import pytest

from recipes.losses.overlong import overlong
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
