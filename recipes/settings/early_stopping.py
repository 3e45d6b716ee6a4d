"""--early_stopping: a stage ends when its validations have stopped to improve. Pure, so that a resumed run agrees."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Criterion:
    """What the validations of a stage are compared by."""

    metric: str
    """Its name in metrics.jsonl."""

    more_is_better: bool

    first: int
    """0: the untrained model is validated too, and is the first to be compared with; 1: the first is of --test_freq."""

    def recorded(self, rows: Iterable[Mapping[str, Any]], last_step: int | None = None) -> list[float]:
        """The values of all validations in a run's metrics, in order; with `last_step` of those up to it."""
        known = [row for row in rows if self.metric in row["data"]]
        return [row["data"][self.metric] for row in known if last_step is None or row["step"] <= last_step]

    def best(self, points: Iterable[tuple[float, int]]) -> tuple[float, int]:
        """Of (value, step) the first of the best."""
        sign = 1 if self.more_is_better else -1
        return max(points, key=lambda point: (sign * point[0], -point[1]))


ACCURACY = Criterion("val/acc", more_is_better=True, first=0)
"""Of reinforcement stages."""

HELD_OUT_LOSS = Criterion("val/loss", more_is_better=False, first=1)
"""Of supervised stages on problems: accuracy is a matter of the evaluations before and after them."""

ANSWERS_LOSS = Criterion("val/loss", more_is_better=False, first=0)
"""Of stages on answers."""


def is_over(values: Sequence[float], patience: int, by: Criterion = ACCURACY) -> bool:
    """Whether none of the last `patience` validations was better than the best one before them.

    Args:
        values: of all validations in order.
        patience: 0 never stops.
    """
    gains = values if by.more_is_better else [-value for value in values]
    return 0 < patience < len(gains) and max(gains[-patience:]) <= max(gains[:-patience])


def ended(rows: Iterable[Mapping[str, Any]], patience: int, by: Criterion, last_step: int | None = None) -> bool:
    """`is_over` of the validations in a run's metrics, up to that step."""
    return is_over(by.recorded(rows, last_step), patience, by)
