"""--early_stopping: end a stage when its validations stop improving. Pure, so that a resumed run decides the same."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Criterion:
    """How a stage's validations are compared."""

    metric: str
    """Its name in metrics.jsonl."""

    more_is_better: bool

    first: int
    """0: the first validation is of the untrained model; 1: it is after --test_freq steps."""

    def recorded(self, rows: Iterable[Mapping[str, Any]], last_step: int | None = None) -> list[float]:
        """The values of all validations in a run's metrics, in order, up to `last_step` if given."""
        known = [row for row in rows if self.metric in row["data"]]
        return [row["data"][self.metric] for row in known if last_step is None or row["step"] <= last_step]

    def best(self, points: Iterable[tuple[float, int]]) -> tuple[float, int]:
        """The best (value, step); the earliest on a tie."""
        sign = 1 if self.more_is_better else -1
        return max(points, key=lambda point: (sign * point[0], -point[1]))


ACCURACY = Criterion("val/acc", more_is_better=True, first=0)
"""For reinforcement stages."""

HELD_OUT_LOSS = Criterion("val/loss", more_is_better=False, first=1)
"""For supervised stages on problems, which measure accuracy only before and after training."""

ANSWERS_LOSS = Criterion("val/loss", more_is_better=False, first=0)
"""For stages on answers."""


def is_over(values: Sequence[float], patience: int, by: Criterion = ACCURACY) -> bool:
    """Whether none of the last `patience` validations beat the best one before them.

    Args:
        values: all validations in order.
        patience: 0 never stops.
    """
    gains = values if by.more_is_better else [-value for value in values]
    return 0 < patience < len(gains) and max(gains[-patience:]) <= max(gains[:-patience])


def ended(rows: Iterable[Mapping[str, Any]], patience: int, by: Criterion, last_step: int | None = None) -> bool:
    """`is_over` for the validations in a run's metrics, up to `last_step`."""
    return is_over(by.recorded(rows, last_step), patience, by)
