"""Imports existing data of a task into our format: every skipped row has a reason. Compares our data with others'."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from data_prep.commands import Parser
from data_prep.faults import count
from data_prep.schema import Row, read_rows
from data_prep.split import Prepared, write_distinct

EXCLUDED = "is in the excluded set"
T = TypeVar("T")


@dataclass(frozen=True)
class LeftOut:
    """A skipped row of the source. row: its number there. reason: duplicate, unsolvable, ..."""

    row: int
    reason: str

    @property
    def kind(self) -> str:
        """The reason without details of this row, for counting."""
        return self.reason.split(" of ")[0].split(":")[0]


@dataclass(frozen=True)
class Imported:
    """The usable rows, and the skipped ones."""

    rows: tuple[Row, ...]
    left_out: tuple[LeftOut, ...]


def read_all(
    items: Iterable[tuple[int, T]],
    read: Callable[[T], tuple[Hashable, Callable[[int], Row]]],
    *,
    limit: int | None = None,
    exclude: Collection[Hashable] = (),
    repeats: bool = False,
    unread: str = "",
    excluded: str = EXCLUDED,
) -> Imported:
    """Rows made from numbered items, in order, until there are `limit` of them.

    Items that `read` rejects, problems in `exclude`, and (unless `repeats`) repetitions are skipped with the reason.

    Args:
        read: gives (a problem's identity, a function that makes the row with a given index); both may raise ValueError
            with the reason to skip the item.
        unread: prefix of the reasons from `read`.
    """
    rows: list[Row] = []
    left_out: list[LeftOut] = []
    first: dict[Hashable, int] = {}
    for number, item in items:
        if len(rows) == limit:
            break
        before = unread
        try:
            key, make = read(item)
            before = ""
            earlier = first.setdefault(key, number)
            if key in exclude:
                raise ValueError(excluded)
            if earlier != number and not repeats:
                raise ValueError(f"duplicate of row {earlier}")
            rows.append(make(len(rows)))
        except ValueError as error:
            left_out.append(LeftOut(number, f"{before}{error}"))
    return Imported(tuple(rows), tuple(left_out))


def prepare_from_uft(
    source: Path, out_dir: Path, load: Callable[..., Imported], key: Callable[[Row], Hashable], what: str
) -> tuple[Prepared, tuple[LeftOut, ...], tuple[LeftOut, ...]]:
    """Writes train and test of the folder `source` to out_dir without duplicates and without test problems in train.

    Returns what was written and what was skipped of train and of test.
    """
    test = load(source / "test.parquet", drop_duplicates=True)
    train = load(source / "train.parquet", drop_duplicates=True, exclude={key(row) for row in test.rows})
    return write_distinct(out_dir, train.rows, test.rows, key, what), train.left_out, test.left_out


@dataclass(frozen=True)
class Sources:
    """Where a task's rows may come from. generated: takes the problems to exclude; the others return skipped rows."""

    generated: Callable[[set[Any]], Prepared]
    from_uft: Callable[[Path, Path], tuple[Prepared, tuple[LeftOut, ...], tuple[LeftOut, ...]]]
    from_hub: Callable[[], tuple[Prepared, *tuple[tuple[LeftOut, ...], ...]]]
    key: Callable[[Row], Hashable]
    profile: Callable[[Sequence[Row]], Mapping[str, float]]


def add_sources(parser: Parser, what: str, hub: str, copied: str) -> None:
    """The flags that `written` reads."""
    parser.add_argument(
        "--exclude", type=Path, nargs="+", default=[], metavar="PARQUET", help=f"exclude the {what} of these files"
    )
    parser.add_argument(
        "--compare", type=Path, metavar="PARQUET", help="print our train file's profile beside this one's"
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--from-uft", type=Path, metavar="DIR", help="import train and test.parquet of the UFT repository instead"
    )
    text = f"import {copied} instead (default {hub})"
    source.add_argument("--from-hub", nargs="?", const=hub, metavar="NAME_OR_PATH", help=text)


def written(options: Namespace, sources: Sources) -> Prepared:
    """Writes the two files from the source given by the flags; prints what was skipped, and the comparison."""
    left: Sequence[tuple[LeftOut, ...]] = ()
    if options.from_uft is not None:
        prepared, *left = sources.from_uft(options.from_uft, options.out)
    elif options.from_hub is not None:
        prepared, *left = sources.from_hub()
    else:
        prepared = sources.generated({sources.key(row) for path in options.exclude for row in read_rows(path)})
    for part, rows in zip(("train", "test") if len(left) == 2 else (options.from_hub,), left, strict=False):
        tell(part, rows)
    if options.compare is not None:
        print(comparison(*(sources.profile(read_rows(path)) for path in (prepared.train, options.compare))))
    return prepared


def tell(source: str, left_out: Iterable[LeftOut]) -> None:
    """Prints each skipped row with its reason to stderr, and their number by kind to stdout."""
    listed = list(left_out)
    for row in listed:
        print(f"{source}: skipped row {row.row}: {row.reason}", file=sys.stderr)
    for kind, number in Counter(row.kind for row in listed).most_common():
        print(f"{source}: skipped {count(number, 'row')}: {kind}")


def comparison(ours: Mapping[str, float], theirs: Mapping[str, float]) -> str:
    """Two profiles of data as a markdown table, one feature per row; shares in percent, means as they are."""
    lines = ["| feature | ours | theirs |", "|---|---|---|"]
    for name in dict.fromkeys([*theirs, *ours]):
        a, b = (_shown(name, table.get(name, 0.0)) for table in (ours, theirs))
        lines.append(f"| {name.replace('|', '/')} | {a} | {b} |")
    return "\n".join(lines)


def _shown(name: str, value: float) -> str:
    return f"{100 * value:.1f} %" if name.startswith("share") else f"{value:.2f}"
