"""A user's own data, from one file of questions and answers to train and test files in our format.
Example: rows {"question": "What is 2 + 2?", "solution": "2 + 2 = 4.", "answer": "4"}, see examples/custom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_prep.contamination import question_key
from data_prep.faults import CustomDataError, Problem, listing, shorten, shown
from data_prep.files.columns import Columns, by_role, missing_columns
from data_prep.files.draw import drawn_for_test
from data_prep.files.read import Place, read
from data_prep.files.source import Source
from data_prep.problems.layout import Layout, understand
from data_prep.problems.rows import make_row
from data_prep.schema import Row, SchemaError, write_rows

BUILT_IN = ("countdown", "kk_logic", "math")
_NAME_ONE = "name a reward with --reward: countdown, kk_logic, math, or your own as path/to/file.py:function"


@dataclass(frozen=True)
class CustomData:
    """What was written. kind: "schema" (rows that had our format) or "simple" (questions and answers).

    reward: a built-in name, "path.py:function" with an absolute path, or None where each row's data_source names it.
    """

    train: Path
    test: Path
    n_train: int
    n_test: int
    reward: str | None
    kind: str


@dataclass(frozen=True)
class Examined:
    """A file as understood. rows: the good ones. numbers: how the user counts them. keys: their questions' identity.

    reward: as in CustomData. problems: all that is wrong; the rows are only of use if there are none.
    """

    source: Source
    layout: Layout
    reward: str | None
    rows: list[Row]
    numbers: list[int]
    keys: list[str]
    problems: list[Problem]

    def complaint(self) -> str:
        """All problems, for people."""
        return listing(self.source.path, self.problems, self.source.counting)


def examine(path: Place, reward: str | None, columns: Columns | None = None) -> Examined:
    """Reads and judges a file; never raises for what it holds. CustomDataError if `reward` itself is unusable.

    columns: what the user calls which column.
    """
    name, reward = _reward_name(reward)
    source = read(path)
    columns = columns or {}
    problems = list(source.problems)
    rows: list[Row] = []
    numbers: list[int] = []
    layout = Layout("simple")
    if source.rows:
        layout, more = understand(source.columns, name, columns)
        more += missing_columns(source.columns, columns)
        problems += more
        if "system" in by_role(source.columns, columns) and layout.kind == "simple":
            source.notes.append("the column system is not used: problems are put by --prompt_style")
        if layout.kind == "simple" and name is None:
            name = reward = "math"
        for number, cells in source.rows if not more else ():
            made = make_row(layout, number, cells, name)
            wrong = made if isinstance(made, list) else _truth_problems(made, number, layout, name)
            problems += wrong
            if not wrong and not isinstance(made, list):
                rows.append(made)
                numbers.append(number)
        problems += _type_problems(rows, numbers)
    return Examined(source, layout, reward, rows, numbers, [question_key(row) for row in rows], problems)


def _reward_name(reward: str | None) -> tuple[str | None, str | None]:
    """(the data_source to be, the reward as CustomData holds it)."""
    if reward is None or reward in BUILT_IN:
        return reward, reward
    if ".py" not in reward:
        raise CustomDataError(f"--reward {reward}: there is no such reward; {_NAME_ONE}")
    from reward_fns import load_custom
    from reward_fns.verdict import Told

    try:
        load_custom(reward)
    except Told as error:
        raise CustomDataError(f"--reward {error}") from None
    path, _, function = reward.rpartition(":")
    return "custom", f"{Path(path).resolve()}:{function}"


def _truth_problems(row: Row, number: int, layout: Layout, name: str | None) -> list[Problem]:
    """Whether the reward that will judge this row can use its ground truth."""
    source = row["data_source"]
    if name == "custom":
        return []
    from reward_fns.registry import check_ground_truth, known_source

    reward = name or known_source(source)
    if reward is None:
        fix = f"use one of {', '.join(BUILT_IN)}, or {_NAME_ONE}"
        return [Problem("no reward judges rows of this source", fix, number, "data_source", shown(source))]
    try:
        check_ground_truth(reward, row["reward_model"]["ground_truth"])
    except ValueError as error:
        column = layout.ground_truth or layout.numbers or layout.answer or "reward_model"
        fix = f"fix the row or {_NAME_ONE}"
        return [Problem(f"the {reward} reward cannot use this", fix, number, column, shorten(str(error), 200))]
    return []


def _type_problems(rows: Sequence[Row], numbers: Sequence[int]) -> list[Problem]:
    """Rows whose ground truth cannot stand in one parquet column with that of the first row."""
    truths = [row["reward_model"]["ground_truth"] for row in rows]
    if not truths or _storable(truths):
        return []
    what, fix = "ground_truth is of another type than in the first row", "give all rows one type, texts for example"
    found = [
        Problem(what, fix, number, "reward_model", shown(truth))
        for number, truth in zip(numbers, truths, strict=True)
        if not _storable([truths[0], truth])
    ]
    return found or [Problem("the ground truths are of different types", fix, column="reward_model")]


def _storable(values: list[Any]) -> bool:
    try:
        pa.array(values)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return False
    return True


def prepare_file(
    path: Place,
    out_dir: Path,
    reward: str | None = None,
    seed: int = 0,
    test_share: float = 0.1,
    test_file: Place | None = None,
    columns: Columns | None = None,
) -> CustomData:
    """Writes out_dir/train.parquet and out_dir/test.parquet from a user's file.

    reward: countdown, kk_logic, math or "path.py:function"; None means mathematics, or by the rows' data_source where
    the file is in the training format. columns: what the user calls which column. test_file holds the test rows;
    without one, `test_share` of the questions are drawn for the test. A question's place depends on it and `seed`
    alone: further rows move no others. CustomDataError lists all that is wrong, and then nothing is written.
    """
    train = examine(path, reward, columns)
    test = None if test_file is None else examine(test_file, reward, columns)
    return write_examined(train, test, out_dir, seed, test_share)


def write_examined(
    examined: Examined, test: Examined | None, out_dir: Path, seed: int = 0, test_share: float = 0.1
) -> CustomData:
    """`prepare_file` from files already examined."""
    complaints = [part.complaint() for part in (examined, test) if part is not None and part.problems]
    if complaints:
        raise CustomDataError("\n".join(complaints))
    train_rows, test_rows = split_files(examined, test, seed, test_share)
    paths = {split: out_dir / f"{split}.parquet" for split in ("train", "test")}
    for part in (examined, test):
        if part is not None and part.source.path.resolve() in {file.resolve() for file in paths.values()}:
            raise CustomDataError(f"{part.source.path} would be overwritten; choose another folder")
    try:
        for split, rows in (("train", train_rows), ("test", test_rows)):
            write_rows(paths[split], _numbered(rows, split))
    except (SchemaError, pa.ArrowException, OSError) as error:
        raise CustomDataError(f"{out_dir}: cannot be written ({error})") from None
    return CustomData(
        train=paths["train"],
        test=paths["test"],
        n_train=len(train_rows),
        n_test=len(test_rows),
        reward=examined.reward,
        kind=examined.layout.kind,
    )


def split_files(examined: Examined, test: Examined | None, seed: int, test_share: float) -> tuple[list[Row], list[Row]]:
    """(training rows, test rows) of one file, or of two. CustomDataError for an empty part, or questions in both."""
    if test is None:
        return split_rows(examined, seed, test_share)
    _refuse_common_questions(examined, test)
    return examined.rows, test.rows


def split_rows(examined: Examined, seed: int, test_share: float) -> tuple[list[Row], list[Row]]:
    """(training rows, test rows). CustomDataError when one of the two would be empty."""
    chosen = drawn_for_test(examined.keys, seed, test_share, examined.source.path, "questions")
    rows = list(zip(examined.rows, chosen, strict=True))
    return [row for row, in_test in rows if not in_test], [row for row, in_test in rows if in_test]


def _numbered(rows: Sequence[Row], split: str) -> list[dict[str, Any]]:
    return [{**row, "extra_info": {"index": index, "split": split}} for index, row in enumerate(rows)]


def _refuse_common_questions(train: Examined, test: Examined) -> None:
    tested = dict(zip(test.keys, test.numbers, strict=True))
    what, fix = f"this question is also in {test.source.path}", "delete it from one of the two files"
    common = [
        Problem(what, fix, number, detail=f"row {tested[key]} there")
        for number, key in zip(train.numbers, train.keys, strict=True)
        if key in tested
    ]
    if common:
        raise CustomDataError(listing(train.source.path, common, train.source.counting))
