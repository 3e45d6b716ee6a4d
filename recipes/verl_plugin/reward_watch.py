"""Stops a run whose reward tells nothing any more: scoring that fails, verifiers that hang, unreadable answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

EXAMPLES = 3
_SHOWN = 400


class RewardFailure(RuntimeError):
    """The reward cannot be trusted; the message says which rate passed its limit and shows answers."""


@dataclass(frozen=True)
class RewardLimits:
    """Shares of a step's answers. Above the first two a run stops at once; above the third after `parse_fail_steps`
    such steps in a row, because a base model may need a while to find the format."""

    max_reward_error_rate: float
    max_timeout_rate: float
    max_parse_fail_rate: float
    parse_fail_steps: int


def exceeded(metrics: dict[str, Any], limits: RewardLimits) -> str | None:
    """Which key of the reward's records ("reward_error", "timeout", "parse_fail") passed its limit in this step."""
    for key in ("reward_error", "timeout", "parse_fail"):
        if metrics.get(f"reward/{key}_rate", 0.0) > getattr(limits, f"max_{key}_rate"):
            return key
    return None


_MEANING = {
    "reward_error": "could not be scored because the reward function failed",
    "timeout": "were not scored because the verifier ran into its limit of time or memory",
    "parse_fail": "held no answer that the reward could read",
}
_FIX = {
    "reward_error": "Look at `pred`: it holds the error. Fix the reward or the rows' ground truth.",
    "timeout": "Give the verifier more with REWARD_SECONDS and REWARD_MEMORY_MB, or raise --max_timeout_rate.",
    "parse_fail": "Does --prompt_style fit the model, and --max_response_length leave room for the answer? "
    "Or raise --parse_fail_steps.",
}


def failure(key: str, rate: float, step: int, rows: list[dict[str, Any]], where: str) -> RewardFailure:
    """The exception for a passed limit.

    Args:
        rows: some answers of the step, each with the keys output, score, pred and the reward's own.
        where: where more of them are written.
    """
    shown = [row for row in rows if row.get(key)][:EXAMPLES]
    examples = "\n".join(
        f"  example {number}: score {row['score']}, pred {row.get('pred')!r}\n    ... {row['output'][-_SHOWN:]!r}"
        for number, row in enumerate(shown, 1)
    )
    return RewardFailure(
        f"{rate:.0%} of the answers of step {step} {_MEANING[key]} (limit --max_{key}_rate). {_FIX[key]}\n"
        f"{examples}\n  more in {where}"
    )


def nothing_scored(step: int, reports: Sequence[Mapping[str, Any]]) -> str:
    """Why a run ends at a step none of whose answers has a verdict, whatever the limits are.

    Args:
        reports: what the reward function said of each answer.
    """
    counted = {key: sum(bool(report.get(key)) for report in reports) for key in ("reward_error", "timeout")}
    causes = [f"{count} {_MEANING[key]}. {_FIX[key]}" for key, count in counted.items() if count]
    told = next((f"  pred {report['pred']!r}" for report in reports if report.get("pred")), "")
    return "\n".join([f"no answer of step {step} could be scored: {' '.join(causes)}", *([told] if told else [])])


class RewardWatch:
    """Follows the rates of a run from step to step."""

    def __init__(self, limits: RewardLimits) -> None:
        self.limits = limits
        self.unreadable_steps = 0

    def verdict(self, metrics: dict[str, Any]) -> str | None:
        """The key whose limit makes the run stop at this step, or None."""
        key = exceeded(metrics, self.limits)
        if key != "parse_fail":
            self.unreadable_steps = 0
            return key
        self.unreadable_steps += 1
        return key if self.unreadable_steps >= self.limits.parse_fail_steps else None
