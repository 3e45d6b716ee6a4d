"""The verdict of a reward function on one response; every task returns it, and `compute_score` turns it into numbers.
Separate from the dispatch so that tasks can import it without a cycle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class Told(Exception):
    """An error whose text is written for users: its class adds nothing."""


def reason(error: BaseException) -> str:
    """The error as a text, with the name of its class unless it is a Told."""
    return (str(error) if isinstance(error, Told) else f"{type(error).__name__}: {error}")[:500]


def shown(value: object) -> str:
    """The repr of a value, shortened."""
    try:
        text = repr(value)
    except Exception:  # from a user's class, or for a number with more digits than Python prints
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 120 else text[:117] + "..."


def listed(task: str, ground_truth: Mapping[str, Any], key: str, most: int | None = None) -> list[Any]:
    """The list or array under `key` of a ground truth; ValueError if it is not a list, empty or too long."""
    values: Any = ground_truth.get(key)
    values = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(values, list | tuple) or not 1 <= len(values) <= (most or len(values)):
        kind = f"a list of 1 to {most}" if most else "a non-empty list"
        raise ValueError(f"{task} ground truth {key!r} must be {kind}, got {shown(values)}")
    return list(values)


@dataclass(frozen=True, slots=True)
class Verdict:
    """correct: the answer is right. readable: there is an answer in the requested form. pred: the text as read.

    partial: the correct share of the answer (e.g. people identified); a metric, never part of the reward.
    """

    correct: bool
    readable: bool
    pred: str
    partial: float = 0.0

    @property
    def score(self) -> float:
        """The reward: 1.0 correct, 0.1 readable but wrong, 0.0 not readable."""
        return 1.0 if self.correct else 0.1 if self.readable else 0.0
