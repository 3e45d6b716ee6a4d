"""Converts a user's own file of questions and answers to train and test files in our format.
Example: rows {"question": "What is 2 + 2?", "solution": "2 + 2 = 4.", "answer": "4"}, see examples/custom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_prep.contamination import question_key
from data_prep.faults import CustomDataError, Problem, shorten, shown
from data_prep.files.columns import Columns, by_role, missing_columns
from data_prep.files.examined import Examined, write_parts
from data_prep.files.read import Place, read
from data_prep.problems.layout import Layout, understand
from data_prep.problems.rows import make_row
from data_prep.schema import Row, numbered, write_rows
from data_prep.split import Prepared

BUILT_IN = ("countdown", "kk_logic", "math")
_NAME_ONE = "name a reward with --reward: countdown, kk_logic, math, or your own as path/to/file.py:function"


@dataclass(kw_only=True)
class Problems(Examined[Row]):
    """A file as understood. reward: a built-in name, "path.py:function" with an absolute path, or None if each row's
    data_source determines it."""

    layout: Layout
    reward: str | None

    what = "questions"
    in_both = "this question is also in {}", "delete it from one of the two files"

    def key(self, row: Row) -> str:
        return question_key(row)


def examine(path: Place, reward: str | None, columns: Columns | None = None) -> Problems:
    """Reads and checks a file; never raises for its content. CustomDataError if `reward` itself is unusable.

    columns: the user's names of columns.
    """
    name, reward = _reward_name(reward)
    source = read(path)
    columns = columns or {}
    found = Problems(source=source, layout=Layout("simple"), reward=reward, problems=list(source.problems))
    if source.rows:
        found.layout, more = understand(source.columns, name, columns)
        layout = found.layout
        more += missing_columns(source.columns, columns)
        found.problems += more
        if "system" in by_role(source.columns, columns) and layout.kind == "simple":
            source.notes.append("the column system is not used: problems are put by --prompt_style")
        if layout.kind == "verl":
            source.notes.append("questions are put by --prompt_style, and keep what they say of how to answer")
        if layout.kind != "schema" and name is None:
            name = found.reward = "math"
        for number, cells in source.rows if not more else ():
            made = make_row(layout, number, cells, name)
            wrong = made if isinstance(made, list) else _truth_problems(made, number, layout, name)
            found.problems += wrong
            if not wrong and not isinstance(made, list):
                found.rows.append(made)
                found.numbers.append(number)
        found.problems += _type_problems(found.rows, found.numbers)
    return found


def _reward_name(reward: str | None) -> tuple[str | None, str | None]:
    """(the resulting data_source, the reward as in Problems)."""
    if reward is None or reward in BUILT_IN:
        return reward, reward
    from reward_fns import REWARDS, load_custom

    if ".py" not in reward:
        known = "is of a task alone" if reward in REWARDS else "there is no such reward"
        raise CustomDataError(f"--reward {reward}: {known}; {_NAME_ONE}")
    from reward_fns.verdict import Told

    try:
        load_custom(reward)
    except Told as error:
        raise CustomDataError(f"--reward {error}") from None
    path, _, function = reward.rpartition(":")
    return "custom", f"{Path(path).resolve()}:{function}"


def _truth_problems(row: Row, number: int, layout: Layout, name: str | None) -> list[Problem]:
    """A problem if the reward that will judge this row cannot use its ground truth."""
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
    """Problems for rows whose ground truth cannot be in the same parquet column as that of the first row."""
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
) -> Prepared:
    """Writes out_dir/train.parquet and out_dir/test.parquet from a user's file.

    reward: countdown, kk_logic, math or "path.py:function"; None means mathematics, or by the rows' data_source if the
    file is in the training format. columns: the user's names of columns. test_file has the test rows; without one,
    `test_share` of the questions are used for the test, chosen by the question and `seed` alone, so that additional
    rows do not move others. CustomDataError lists all errors, and then nothing is written.
    """
    train = examine(path, reward, columns)
    test = None if test_file is None else examine(test_file, reward, columns)
    return write_problems(train, test, out_dir, seed, test_share)


def write_problems(
    train: Problems, test: Problems | None, out_dir: Path, seed: int = 0, test_share: float = 0.1
) -> Prepared:
    """`prepare_file` for files that have been examined."""

    def write(*parts: list[Row]) -> Prepared:
        paths = {split: out_dir / f"{split}.parquet" for split in ("train", "test")}
        for (split, path), rows in zip(paths.items(), parts, strict=True):
            write_rows(path, numbered(rows, split))
        return Prepared(paths["train"], paths["test"], *map(len, parts))

    found: Prepared = write_parts(train, test, out_dir, write, seed, test_share)
    return found
