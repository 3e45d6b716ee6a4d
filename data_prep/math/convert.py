r"""MATH data: competition problems of levels 3 to 5, with their worked solutions, split into sentences, as hints.
From the hub's MATH-lighteval, or a local copy of it (columns problem, solution, level, type).

Example: "Compute $\dbinom{8}{4}$." -> "70", by the sentences "$\\dbinom{8}{4} = \\dfrac{8!}{4!4!}$. ", ...
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.files.tables import Items, read_table
from data_prep.imported import Imported, LeftOut, read_all
from data_prep.prompt_styles import Question, completion_prompt
from data_prep.schema import Row, build_row, validate_row, write_rows
from data_prep.segments import segments
from data_prep.split import Prepared, shuffled
from reward_fns.math.equal import check_gold
from reward_fns.math.reward import last_boxed

HUB_DATASET = "DigitalLearningGmbH/MATH-lighteval"
DATA_SOURCE = "math"
EXAMPLE = "12"
LEVELS = (3, 4, 5)
IN_TEST = "is a test problem"
_COLUMNS = ("problem", "solution", "level")


def convert(
    items: Sequence[Mapping[str, Any]], split: str, levels: Collection[int] = LEVELS, exclude: Collection[str] = ()
) -> Imported:
    """Rows of these levels, in the order of `items`; skipped ones are returned with their reason.

    Skipped are malformed items, solutions without a boxed answer or with an unusable one (check_gold), and problems
    that repeat an earlier one or are in `exclude` (problem_key), ignoring white space.
    """

    def read(numbered: tuple[int, Mapping[str, Any]]) -> tuple[str, Callable[[int], Row]]:
        number, item = numbered
        if _level(item) is None:
            raise ValueError(f"column level: must be 'Level 1' to 'Level 5', got {item.get('level')!r:.60}")
        row = to_row(item, number, split)
        return problem_key(item["problem"]), lambda _: row

    asked = [(number, (number, item)) for number, item in enumerate(items) if _level(item) in (None, *levels)]
    return read_all(asked, read, exclude=exclude, excluded=IN_TEST)


def _level(item: Mapping[str, Any]) -> int | None:
    level = re.fullmatch(r"(?:Level )?(\d)", str(item.get("level")))
    return None if level is None else int(level[1])


def to_row(item: Mapping[str, Any], index: int, split: str) -> Row:
    """One problem as a row; ValueError says which column is wrong and why."""
    for column in ("problem", "solution"):
        if not isinstance(item.get(column), str) or not item[column].strip():
            raise ValueError(f"column {column}: must be text, got {item.get(column)!r:.60}")
    gold = last_boxed(item["solution"])
    if gold is None:
        raise ValueError("column solution: no \\boxed{} answer")
    try:
        check_gold(gold)
    except ValueError as error:
        raise ValueError(f"column solution: {error}") from None
    row = build_row(
        prompt=completion_prompt(Question(item["problem"], EXAMPLE)),
        hint=segments(item["solution"]),
        final_answer=gold,
        data_source=DATA_SOURCE,
        ability="math",
        ground_truth={"target": gold},
        index=index,
        split=split,
    )
    validate_row(row, f"row {index}")
    return row


def problem_key(problem: str) -> str:
    """The identity of a problem: its text without white space."""
    return re.sub(r"\s+", "", problem)


def load_problems(source: str, split: str) -> Items:
    """The problems of one split of a hub dataset, of a folder with train and test files, or of one file (all of it)."""
    return read_table(source, split, _COLUMNS)


def prepare(
    out_dir: Path,
    source: str = HUB_DATASET,
    levels: Collection[int] = LEVELS,
    n_test: int = 1024,
    seed: int = 0,
    n_train: int | None = None,
) -> tuple[Prepared, tuple[LeftOut, ...], tuple[LeftOut, ...]]:
    """Writes out_dir/train.parquet and out_dir/test.parquet with disjoint problems, in an order drawn from `seed`.

    The n_test test problems come from the source's test split, n_train (None: all) from its train split; a single file
    provides both. The test file depends on source, levels, n_test and seed only, and a smaller training set is the
    beginning of a larger one. Returns what was written and what was skipped in train and in test.
    """
    one_file = Path(source).is_file()
    test_items = load_problems(source, "test")
    tested = convert(test_items, "test", levels)
    test = _drawn(tested.rows, n_test, f"math test {seed}", "test", source)
    # With two splits no test problem may be trained on, whether or not this seed selected it.
    held_out = [row["extra_info"]["index"] for row in test] if one_file else list(range(len(test_items)))
    exclude = {problem_key(text) for number in held_out if isinstance(text := test_items[number].get("problem"), str)}
    trained = convert(test_items if one_file else load_problems(source, "train"), "train", levels, exclude)
    train = _drawn(trained.rows, n_train, f"math train {seed}", "train", source)
    paths = {split: out_dir / f"{split}.parquet" for split in ("train", "test")}
    write_rows(paths["train"], train)
    write_rows(paths["test"], test)
    return Prepared(paths["train"], paths["test"], len(train), len(test)), trained.left_out, tested.left_out


def _drawn(rows: Sequence[Row], n: int | None, seed: str, split: str, source: str) -> list[Row]:
    if n is not None and not 0 < n <= len(rows):
        raise ValueError(f"{source}: asked for {n} {split} problems; there are {len(rows)} usable ones of these levels")
    if not rows:
        raise ValueError(f"{source}: no usable {split} problems of these levels")
    return shuffled(rows, random.Random(seed))[:n]
