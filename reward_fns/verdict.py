"""What a reward function says about one response; every task returns this, and `compute_score` turns it into numbers.
Kept apart from the dispatch so that tasks can import it without a cycle."""

from __future__ import annotations

from dataclasses import dataclass

SCORE_CORRECT = 1.0
SCORE_READABLE = 0.1
SCORE_UNREADABLE = 0.0


class Told(Exception):
    """An error whose text is written for people: its class adds nothing."""


def reason(error: BaseException) -> str:
    """An error in one text, with the name of its kind where it is somebody else's."""
    return (str(error) if isinstance(error, Told) else f"{type(error).__name__}: {error}")[:500]


def shown(value: object) -> str:
    """A value as Python writes it, cut."""
    try:
        text = repr(value)
    except Exception:  # of a user's class, or a number of more digits than Python writes
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 120 else text[:117] + "..."


@dataclass(frozen=True, slots=True)
class Verdict:
    """correct: the answer is right. readable: an answer was given in the asked form. pred: the text that was read.

    partial: the right share of the answer (people identified, for example); a metric, never part of the reward.
    """

    correct: bool
    readable: bool
    pred: str
    partial: float = 0.0

    @property
    def score(self) -> float:
        """The reward: 1.0 correct, 0.1 readable but wrong, 0.0 not readable."""
        if self.correct:
            return SCORE_CORRECT
        return SCORE_READABLE if self.readable else SCORE_UNREADABLE
