"""Existing knights-and-knaves data: the UFT repository's parquet files, and the hub's `K-and-K/knights-and-knaves`.
Both become rows in our format; skipped rows are returned with their reason, never dropped silently.

Example item of the hub: {"quiz": "A very special island ...", "names": ["Zoey", "Owen"], "solution": [True, False],
"statements": "(('lying', 1), ('and', ('telling-truth', 0), ('telling-truth', 1)))", ...}
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from data_prep import imported
from data_prep.files.tables import read_table
from data_prep.imported import Imported, LeftOut
from data_prep.kk_logic.generate import puzzle_row, row_key
from data_prep.kk_logic.puzzle import Claims, Key, PuzzleError, canonical_key, read_statements, solutions
from data_prep.schema import Row, plain, read_rows
from data_prep.split import Prepared, shuffled, write_distinct

HUB_DATASET = "K-and-K/knights-and-knaves"
_NO_PUZZLE = "not a puzzle: "
HUB_COLUMNS = ("quiz", "names", "solution", "statements")


def checked_claims(names: Any, solution: Any, statements: Any) -> Claims:
    """The claims of an existing puzzle; PuzzleError unless `solution` is its unique solution."""
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise PuzzleError(f"names must be a list of texts, got {names!r}")
    if len(set(names)) < len(names):
        raise PuzzleError(f"names holds a name twice: {names!r}")
    if not isinstance(statements, str):
        raise PuzzleError(f"statements must be text, got {statements!r}")
    claims = read_statements(statements, len(names))
    found = solutions(claims)
    if len(found) != 1:
        raise PuzzleError(f"the statements have {len(found)} solutions")
    if not isinstance(solution, list) or solution != list(found[0]):
        raise PuzzleError(f"the solution is {list(found[0])}, not {solution!r}")
    return claims


def load_uft(path: Path, drop_duplicates: bool = False, exclude: Collection[Key] = ()) -> Imported:
    """The rows of a UFT kk_logic parquet file, unchanged except for columns outside our format.

    Rows whose solution is not unique are skipped with the reason. drop_duplicates skips later rows with the same
    question, `exclude` puzzles by key, e.g. those of the test file. SchemaError names the first row that is not in the
    format.
    """

    def read(row: Row) -> tuple[Key, Callable[[int], Row]]:
        truth = row["reward_model"]["ground_truth"]
        truth = truth if isinstance(truth, Mapping) else {}
        claims = checked_claims(*(truth.get(key) for key in ("names", "solution", "statements")))
        return canonical_key(claims), lambda _: row

    return imported.read_all(
        enumerate(read_rows(path)), read, exclude=exclude, repeats=not drop_duplicates, unread=_NO_PUZZLE
    )


prepare_from_uft = partial(imported.prepare_from_uft, load=load_uft, key=row_key, what="puzzle")


def load_puzzles(source: str = HUB_DATASET, split: str = "train", people: Sequence[int] = (3, 4, 5, 6, 7)) -> list[Any]:
    """The items of a split ("train" or "test") of the hub's dataset, or of a local copy of it, fewest people first.

    A local copy is a folder with the hub's files SPLIT/peopleN_num1000.jsonl for N people.
    """
    if Path(source).is_file():
        raise ValueError(f"{source}: a file; name the folder that holds train/people3_num1000.jsonl and the others")
    items: list[Any] = []
    for count in sorted(people):
        if Path(source).is_dir():
            pattern = re.compile(rf"people{count}_num\d+\.jsonl")
            files = sorted(path for path in Path(source, split).glob("*.jsonl") if pattern.fullmatch(path.name))
            if not files:
                raise ValueError(f"{Path(source, split)}: holds no people{count}_num*.jsonl; choose other people")
            for file in files:
                items += read_table(str(file), split, HUB_COLUMNS)
        else:
            items += read_table(source, f"{count}ppl", HUB_COLUMNS, split)
    return items


def convert_puzzles(
    source: Iterable[tuple[int, Mapping[str, Any]]], split: str, limit: int | None = None, exclude: Collection[Key] = ()
) -> Imported:
    """Rows from numbered items in the hub's format, in order, until there are `limit`.

    The puzzle's text is kept as it is. The hints come from our own reasoner, which from names and statements alone
    gives exactly the steps of the published UFT rows; the hub's cot_repeat_steps are split differently. Malformed
    items, those without a unique solution, repeated and excluded ones are skipped with the reason.
    """

    def read(item: Mapping[str, Any]) -> tuple[Key, Callable[[int], Row]]:
        quiz, names, solution, statements = (plain(item.get(column)) for column in HUB_COLUMNS)
        claims = checked_claims(names, solution, statements)
        if not isinstance(quiz, str) or not quiz.strip():
            raise PuzzleError(f"quiz must be text, got {quiz!r}")
        return canonical_key(claims), lambda index: puzzle_row(quiz, names, claims, solution, index, split)

    return imported.read_all(source, read, limit=limit, exclude=exclude, unread=_NO_PUZZLE)


def prepare_from_hub(
    out_dir: Path,
    n_train: int,
    n_test: int,
    seed: int = 0,
    source: str = HUB_DATASET,
    people: Sequence[int] = (3, 4, 5, 6, 7),
) -> tuple[Prepared, tuple[LeftOut, ...], tuple[LeftOut, ...]]:
    """Writes at most n_train and n_test puzzles of the hub's train and test, each in an order drawn from `seed`.

    Puzzles of the test file are not in train. Returns what was written and what was skipped in train and in test (row:
    position in the concatenated files, fewest people first).
    """
    test = convert_puzzles(_in_order(load_puzzles(source, "test", people), seed), "test", n_test)
    taken = {row_key(row) for row in test.rows}
    train = convert_puzzles(_in_order(load_puzzles(source, "train", people), seed), "train", n_train, exclude=taken)
    return write_distinct(out_dir, train.rows, test.rows, row_key, "puzzle"), train.left_out, test.left_out


def _in_order(items: Sequence[Any], seed: int) -> list[tuple[int, Any]]:
    return shuffled([*enumerate(items)], random.Random(f"kk_logic order {seed}"))
