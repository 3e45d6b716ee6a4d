"""Rows of a source that are not in the result: returned by row and reason, and told, never dropped silently."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from data_prep.faults import count
from data_prep.schema import Row

EXCLUDED = "is in the excluded set"


@dataclass(frozen=True)
class LeftOut:
    """A row of the source that is not in the result. row: its number there. reason: duplicate, unsolvable, ..."""

    row: int
    reason: str

    @property
    def kind(self) -> str:
        """The reason without what is this row's own: what rows are counted by."""
        return self.reason.split(" of ")[0].split(":")[0]


@dataclass(frozen=True)
class Imported:
    """The rows that could be used, and the others."""

    rows: tuple[Row, ...]
    left_out: tuple[LeftOut, ...]


def tell(source: str, left_out: Iterable[LeftOut]) -> None:
    """Prints each row with its reason on stderr, and how many there are of each kind on stdout."""
    listed = list(left_out)
    for row in listed:
        print(f"{source}: left out row {row.row}: {row.reason}", file=sys.stderr)
    for kind, number in Counter(row.kind for row in listed).most_common():
        print(f"{source}: left out {count(number, 'row')}: {kind}")
