"""Existing countdown data: the UFT repository's parquet files, and number-target lists such as the hub's.
Both come out in our row format; whatever had to be left out is returned by row and reason, never dropped silently."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.countdown.generate import MOST_NUMBERS, Key, Problem, canonical_key, row_key, to_row, write_split
from data_prep.countdown.solver import exact_solution, first_solution, reachable_values
from data_prep.faults import count
from data_prep.files.tables import read_table
from data_prep.left_out import EXCLUDED, Imported, LeftOut
from data_prep.schema import Row, plain, read_rows
from data_prep.split import Prepared

HUB_DATASET = "Jiayi-Pan/Countdown-Tasks-3to4"
_MOST_NUMBERS_FOR_FRACTIONS = 5


def load_uft(path: Path, drop_duplicates: bool = False, exclude: Collection[Key] = ()) -> Imported:
    """The rows of a UFT countdown parquet file, as they are but for columns outside our format.

    drop_duplicates leaves out later rows with the same numbers and target; `exclude` leaves out problems by key, e.g.
    those of the test file. SchemaError names the first row that is not in the format.
    """
    rows: list[Row] = []
    left_out: list[LeftOut] = []
    first: dict[Key, int] = {}
    for number, row in enumerate(read_rows(path)):
        key = row_key(row)
        earlier = first.setdefault(key, number)
        if key in exclude:
            left_out.append(LeftOut(number, EXCLUDED))
        elif drop_duplicates and earlier != number:
            left_out.append(LeftOut(number, f"duplicate of row {earlier}"))
        else:
            rows.append(row)
    return Imported(tuple(rows), tuple(left_out))


def prepare_from_uft(source: Path, out_dir: Path) -> tuple[Prepared, tuple[LeftOut, ...], tuple[LeftOut, ...]]:
    """Writes train and test of the folder `source` to out_dir without duplicates and without test problems in train.

    Returns what was written and what was left out of train and of test.
    """
    test = load_uft(source / "test.parquet", drop_duplicates=True)
    train = load_uft(source / "train.parquet", drop_duplicates=True, exclude={row_key(row) for row in test.rows})
    return write_split(out_dir, list(train.rows), list(test.rows)), train.left_out, test.left_out


def load_number_lists(name_or_path: str = HUB_DATASET, split: str = "train") -> list[dict[str, Any]]:
    """A dataset with the columns `nums` and `target`, from the hub or from a local folder or file."""
    return read_table(name_or_path, split, ("nums", "target"))


def solve_problem(numbers: Sequence[int], target: int) -> Problem | None:
    """The problem solved over positive whole numbers if possible, else over fractions; None if unsolvable."""
    solution = first_solution(numbers, reachable_values(numbers), target)
    if solution is None and len(numbers) <= _MOST_NUMBERS_FOR_FRACTIONS:
        solution = exact_solution(numbers, target)
    return None if solution is None else Problem(tuple(numbers), target, solution)


def convert_number_lists(
    source: Iterable[tuple[int, Mapping[str, Any]]], split: str, limit: int, exclude: Collection[Key] = ()
) -> Imported:
    """Rows with worked solutions from numbered items {nums, target}, in order, until there are `limit`.

    Left out, with the reason: malformed, repeated, excluded and unsolvable problems.
    """
    rows: list[Row] = []
    left_out: list[LeftOut] = []
    first: dict[Key, int] = {}
    for number, item in source:
        if len(rows) == limit:
            break
        numbers, target = plain(item.get("nums")), plain(item.get("target"))
        if not _is_problem(numbers, target):
            left_out.append(LeftOut(number, f"not a problem: nums {numbers!r}, target {target!r}"))
            continue
        key = canonical_key(numbers, target)
        earlier = first.setdefault(key, number)
        if key in exclude:
            left_out.append(LeftOut(number, EXCLUDED))
        elif earlier != number:
            left_out.append(LeftOut(number, f"duplicate of row {earlier}"))
        elif (problem := solve_problem(numbers, target)) is None:
            left_out.append(LeftOut(number, f"unsolvable: nums {numbers}, target {target}"))
        else:
            rows.append(to_row(problem, len(rows), split))
    return Imported(tuple(rows), tuple(left_out))


def _is_problem(numbers: Any, target: Any) -> bool:
    return (
        isinstance(numbers, list)
        and 2 <= len(numbers) <= MOST_NUMBERS
        and all(type(number) is int and number > 0 for number in numbers)
        and type(target) is int
        and target >= 0
    )


def prepare_from_number_lists(
    out_dir: Path, n_train: int, n_test: int, seed: int = 0, source: str = HUB_DATASET
) -> tuple[Prepared, tuple[LeftOut, ...]]:
    """Writes disjoint train and test files with n_train and n_test problems of `source`, in an order drawn from `seed`.

    The test file does not depend on n_train. Returns what was written and the rows of `source` left out on the way.
    Raises ValueError if the source has too few different solvable problems.
    """
    items = load_number_lists(source)
    draw = random.Random(f"countdown order {seed}")
    # sort by random() instead of shuffle(): only random() is promised to stay the same between Python versions
    order = [position for _, position in sorted((draw.random(), position) for position in range(len(items)))]
    shuffled = [(position, items[position]) for position in order]
    test = convert_number_lists(shuffled, "test", n_test)
    taken = {row_key(row) for row in test.rows}
    train = convert_number_lists(shuffled, "train", n_train, exclude=taken)
    for split, part, asked in (("test", test, n_test), ("train", train, n_train)):
        if len(part.rows) < asked:
            raise ValueError(
                f"{source}: {count(len(items), 'row')} with only {count(len(part.rows), 'problem')} for {split}; asked "
                f"for {asked}, ask for fewer"
            )
    reasons = {out.row: out.reason for part in (test, train) for out in part.left_out if out.reason != EXCLUDED}
    left_out = tuple(LeftOut(row, reason) for row, reason in sorted(reasons.items()))
    return write_split(out_dir, list(train.rows), list(test.rows)), left_out
