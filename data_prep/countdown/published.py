"""Existing countdown data: the UFT repository's parquet files, and lists of numbers and targets such as the hub's.
Both become rows in our format; skipped rows are returned with their reason, never dropped silently."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from data_prep import imported
from data_prep.countdown.generate import MOST_NUMBERS, Key, Problem, canonical_key, row_key, to_row
from data_prep.countdown.solver import exact_solution, first_solution, reachable_values
from data_prep.faults import count
from data_prep.files.tables import Items, read_table
from data_prep.imported import EXCLUDED, Imported, LeftOut
from data_prep.schema import Row, plain, read_rows
from data_prep.split import Prepared, shuffled, write_distinct

HUB_DATASET = "Jiayi-Pan/Countdown-Tasks-3to4"
_MOST_NUMBERS_FOR_FRACTIONS = 5


def load_uft(path: Path, drop_duplicates: bool = False, exclude: Collection[Key] = ()) -> Imported:
    """The rows of a UFT countdown parquet file, unchanged except for columns outside our format.

    drop_duplicates skips later rows with the same numbers and target; `exclude` skips problems by key, e.g. those of
    the test file. SchemaError names the first row that is not in the format.
    """
    items = enumerate(read_rows(path))
    return imported.read_all(
        items, lambda row: (row_key(row), lambda _: row), exclude=exclude, repeats=not drop_duplicates
    )


prepare_from_uft = partial(imported.prepare_from_uft, load=load_uft, key=row_key, what="problem")


def load_number_lists(name_or_path: str = HUB_DATASET, split: str = "train") -> Items:
    """A dataset with the columns `nums` and `target`, from the hub or from a local folder or file."""
    return read_table(name_or_path, split, ("nums", "target"))


def solve_problem(numbers: Sequence[int], target: int) -> Problem | None:
    """The problem solved over positive integers if possible, else over fractions; None if unsolvable."""
    solution = first_solution(numbers, reachable_values(numbers), target)
    if solution is None and len(numbers) <= _MOST_NUMBERS_FOR_FRACTIONS:
        solution = exact_solution(numbers, target)
    return None if solution is None else Problem(tuple(numbers), target, solution)


def convert_number_lists(
    source: Iterable[tuple[int, Mapping[str, Any]]], split: str, limit: int, exclude: Collection[Key] = ()
) -> Imported:
    """Rows with worked solutions from numbered items {nums, target}, in order, until there are `limit`.

    Malformed, repeated, excluded and unsolvable problems are skipped with the reason.
    """

    def read(item: Mapping[str, Any]) -> tuple[Key, Callable[[int], Row]]:
        numbers, target = plain(item.get("nums")), plain(item.get("target"))
        if not _is_problem(numbers, target):
            raise ValueError(f"not a problem: nums {numbers!r}, target {target!r}")
        return canonical_key(numbers, target), partial(_solved, numbers, target, split)

    return imported.read_all(source, read, limit=limit, exclude=exclude)


def _solved(numbers: Sequence[int], target: int, split: str, index: int) -> Row:
    if (problem := solve_problem(numbers, target)) is None:
        raise ValueError(f"unsolvable: nums {numbers}, target {target}")
    return to_row(problem, index, split)


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

    The test file does not depend on n_train. Returns what was written and the skipped rows of `source`. Raises
    ValueError if the source has too few different solvable problems.
    """
    items = load_number_lists(source)
    drawn = shuffled([*enumerate(items)], random.Random(f"countdown order {seed}"))
    test = convert_number_lists(drawn, "test", n_test)
    taken = {row_key(row) for row in test.rows}
    train = convert_number_lists(drawn, "train", n_train, exclude=taken)
    for split, part, asked in (("test", test, n_test), ("train", train, n_train)):
        if len(part.rows) < asked:
            raise ValueError(
                f"{source}: {count(len(items), 'row')} with only {count(len(part.rows), 'problem')} for {split}; asked "
                f"for {asked}, ask for fewer"
            )
    reasons = {out.row: out.reason for part in (test, train) for out in part.left_out if out.reason != EXCLUDED}
    left_out = tuple(LeftOut(row, reason) for row, reason in sorted(reasons.items()))
    return write_distinct(out_dir, train.rows, test.rows, row_key, "problem"), left_out
