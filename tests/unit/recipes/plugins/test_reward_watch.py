"""When a reward stops a run, and what the user is shown."""

import pytest

from recipes.verl_plugin.reward_watch import RewardLimits, RewardWatch, failure

LIMITS = RewardLimits(max_reward_error_rate=0.05, max_timeout_rate=0.2, max_parse_fail_rate=0.9, parse_fail_steps=3)


def rates(**found: float) -> dict[str, float]:
    return {f"reward/{key}_rate": value for key, value in found.items()}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"reward_error": 0.05}, None),
        ({"reward_error": 0.06}, "reward_error"),
        ({"timeout": 0.2}, None),
        ({"timeout": 0.21, "parse_fail": 1.0}, "timeout"),
        ({"parse_fail": 1.0}, None),
        ({}, None),
    ],
)
def test_failing_rewards_stop_at_once_unreadable_answers_do_not(found: dict[str, float], expected: str | None) -> None:
    assert RewardWatch(LIMITS).verdict(rates(**found)) == expected


def test_unreadable_answers_stop_a_run_only_step_after_step() -> None:
    watch = RewardWatch(LIMITS)
    steps = [1.0, 0.95, 0.5, 1.0, 1.0, 1.0]
    assert [watch.verdict(rates(parse_fail=rate)) for rate in steps] == [None] * 5 + ["parse_fail"]


def test_three_examples_are_shown() -> None:
    rows = [
        {"output": f"text {n}", "score": 0.0, "pred": f"KeyError: {n}", "reward_error": float(n != 1)} for n in range(6)
    ]
    message = str(failure("reward_error", 0.5, 7, rows, "out/x/rollouts"))
    assert "50% of the answers of step 7" in message
    assert "--max_reward_error_rate" in message
    assert [n for n in range(6) if f"'text {n}'" in message] == [0, 2, 3]
    assert "KeyError: 3" in message
    assert "out/x/rollouts" in message
