"""Trials of the reward functions: labelled answers (`<task>.jsonl`), random and adversarial ones (`fuzz_<task>.py`).
`python -m reward_fns selftest` and `python -m reward_fns fuzz` run them; each trial has a known verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Label = Literal["correct", "wrong", "unreadable", "not correct", "any"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One response to a problem and the verdict it must get.

    label: "correct" (reward 1.0), "wrong" (0.1), "unreadable" (0.0), "not correct" (0.1 or 0.0, where either is fair)
    or "any" (no exception and no hang, for responses of unknown correctness).
    why: what the trial is about, in a few words.
    """

    response: str
    ground_truth: Any
    label: Label
    why: str
