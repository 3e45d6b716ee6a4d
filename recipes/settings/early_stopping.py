"""--early_stopping: a run is over when its validations have stopped to improve. Pure, so that a resumed run agrees."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

ACCURACY = "val/acc"


def is_over(values: Sequence[float], patience: int) -> bool:
    """Whether none of the last `patience` validations was better than the best one before them.

    Args:
        values: of all validations in order, the untrained model's first; more is better.
        patience: 0 never stops.
    """
    return 0 < patience < len(values) and max(values[-patience:]) <= max(values[:-patience])


def accuracies(rows: Iterable[Mapping[str, Any]]) -> list[float]:
    """The values of all validations in a run's metrics."""
    return [row["data"][ACCURACY] for row in rows if ACCURACY in row["data"]]
