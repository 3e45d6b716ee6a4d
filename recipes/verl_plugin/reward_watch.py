"""Stops a run whose reward has become meaningless: failing scores, hanging verifiers, unreadable answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

EXAMPLES = 3
_SHOWN = 400


class RewardFailure(RuntimeError):
    """The reward is unreliable; the message says which rate exceeded its limit and shows answers."""


@dataclass(frozen=True)
class RewardLimits:
    """Shares of a step's answers. Above the first two a run stops at once; above the third after `parse_fail_steps`
    consecutive such steps, because a base model may take a while to learn the format."""

    max_reward_error_rate: float
    max_timeout_rate: float
    max_parse_fail_rate: float
    parse_fail_steps: int


def exceeded(metrics: dict[str, Any], limits: RewardLimits) -> str | None:
    """The key ("reward_error", "timeout", "parse_fail") whose rate exceeded its limit in this step, or None."""
    for key in ("reward_error", "timeout", "parse_fail"):
        if metrics.get(f"reward/{key}_rate", 0.0) > getattr(limits, f"max_{key}_rate"):
            return key
    return None


_MEANING = {
    "reward_error": "could not be scored because the reward function failed",
    "timeout": "were not scored because the verifier exceeded its time or memory limit",
    "parse_fail": "contained no answer that the reward could read",
}
_FIX = {
    "reward_error": "`pred` contains the error. Fix the reward or the rows' ground truth.",
    "timeout": "Raise the verifier's REWARD_SECONDS and REWARD_MEMORY_MB, or raise --max_timeout_rate.",
    "parse_fail": "Check that --prompt_style fits the model and that --max_response_length leaves room for the answer. "
    "Or raise --parse_fail_steps.",
}


def failure(key: str, rate: float, step: int, rows: list[dict[str, Any]], where: str) -> RewardFailure:
    """The exception for an exceeded limit.

    Args:
        rows: some answers of the step, each with the keys output, score, pred and the reward's own.
        where: folder with more answers.
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
    """The message that ends a run, whatever the limits, at a step without a single verdict.

    Args:
        reports: the reward function's report on each answer.
    """
    counted = {key: sum(bool(report.get(key)) for report in reports) for key in ("reward_error", "timeout")}
    causes = [f"{count} {_MEANING[key]}. {_FIX[key]}" for key, count in counted.items() if count]
    preds = [f"  pred {report['pred']!r}" for report in reports if report.get("pred")]
    return "\n".join([f"no answer of step {step} could be scored: {' '.join(causes)}", *preds[:1]])


class RewardWatch:
    """Tracks a run's rates over its steps."""

    def __init__(self, limits: RewardLimits) -> None:
        self.limits = limits
        self.unreadable_steps = 0

    def verdict(self, metrics: dict[str, Any]) -> str | None:
        """The key whose limit stops the run at this step, or None."""
        key = exceeded(metrics, self.limits)
        if key != "parse_fail":
            self.unreadable_steps = 0
            return key
        self.unreadable_steps += 1
        return key if self.unreadable_steps >= self.limits.parse_fail_steps else None
