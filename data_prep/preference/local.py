"""Converts a user's own preference data (chosen/rejected, labels, scores, instructions) to train and test files.
Example: rows {"prompt": "What is 2 + 2?", "chosen": "4.", "rejected": "5."}, see examples/custom/preferences.jsonl."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.faults import CustomDataError, Problem
from data_prep.files.cells import BadCell
from data_prep.files.columns import Columns, missing_columns
from data_prep.files.examined import Examined, write_parts
from data_prep.files.hub_set import HubSet, hub_columns
from data_prep.files.read import Place, read, read_file
from data_prep.files.source import Source
from data_prep.preference.cells import messages_in, number_of
from data_prep.preference.history import History
from data_prep.preference.layout import MESSAGES, Layout, answers_by, understand
from data_prep.preference.make_rows import Scale, make_rows
from data_prep.preference.schema import Row, torn_groups
from data_prep.preference.split import Written, beginning, write_split

_LINES_PEEKED = 100


@dataclass(kw_only=True)
class Answers(Examined[Row]):
    """A file as understood; several rows may be made from one row of the user.

    scale: the scores that 0 and 1 stand for. noted: harmless oddities between rows, each with the user's rows.
    """

    layout: Layout
    scale: Scale
    noted: dict[str, list[int]] = field(default_factory=dict)

    what = "conversations"
    in_both = "a conversation in {} begins like this one", "delete one of the two"

    def key(self, row: Row) -> str:
        return beginning(row["prompt"])


def looks_like_answers(path: Place, columns: Columns | None = None) -> bool:
    """Whether a file is preference data, by the columns of most of its rows; False if it cannot be read."""
    votes = [answers_by(row, columns or {}) for row in _columns_of_rows(path)]
    return 2 * sum(votes) > len(votes)


def columns_of(path: Place) -> Sequence[str]:
    """The names of a file's columns; for a jsonl file those in its first lines, to avoid reading all of it."""
    return list(dict.fromkeys(column for row in _columns_of_rows(path) for column in row))


def _columns_of_rows(path: Place) -> list[Sequence[str]]:
    """The names of the columns of each of the first lines of a jsonl file, which may differ; of other files once."""
    if isinstance(path, HubSet):
        return [hub_columns(path)]
    try:
        if path.suffix.lower() == ".parquet":
            return [list(pq.read_schema(path).names)]
        if path.suffix.lower() not in (".jsonl", ".ndjson"):
            return [read_file(path).columns]
        rows: list[Sequence[str]] = []
        with path.open(encoding="utf-8-sig", errors="replace") as lines:
            for _, line in zip(range(_LINES_PEEKED), lines, strict=False):
                try:
                    cells = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(cells, dict):
                    rows.append([column.strip() for column in cells])
        return rows
    except (pa.ArrowException, OSError):
        return []


def examine(
    path: Place, score_min: float | None = None, score_max: float | None = None, columns: Columns | None = None
) -> Answers:
    """Reads and checks a file; never raises for its content. CustomDataError if the scale itself is unusable.

    columns: the user's names of columns.
    """
    declared = _declared(score_min, score_max)
    source = read(path)
    columns = columns or {}
    layout, unclear = understand(source.columns, columns) if source.rows else (Layout(), [])
    unclear += missing_columns(source.columns, columns) if source.rows else []
    problems = [*source.problems, *unclear]
    found = Answers(source=source, layout=layout, scale=declared or Scale(), problems=problems)
    if unclear or not source.rows:
        return found
    if declared is None:
        found.scale = _usual_scale(source, layout, found.problems)
    elif not layout.scores:
        found.problems.append(Problem("there are no scores", "remove --score-min and --score-max"))
    history = History()
    for number, cells in source.rows:
        made = make_rows(layout, number, cells, found.scale)
        rows = [item for item in made if not isinstance(item, Problem)]
        found.problems += [item for item in made if isinstance(item, Problem)]
        found.problems += history.take(number, rows)
        if rows and _ends_open(layout, cells):
            history.note("end with the user, whose last turn has no answer and is skipped", number)
        found.rows += rows
        found.numbers += [number] * len(rows)
    for at, first, column in torn_groups(found.rows):
        what, fix = f"an earlier row of its group has another {column}", "give what cannot be compared other groups"
        found.problems.append(Problem(what, fix, found.numbers[at], "group", f"row {found.numbers[first]}"))
    found.noted = history.noted
    return found


def _ends_open(layout: Layout, cells: dict[str, Any]) -> bool:
    if layout.kind_of(cells) != MESSAGES:
        return False
    messages = messages_in("messages", cells.get(layout.columns["messages"]))
    return messages is not None and messages[-1]["role"] == "user"


def _declared(score_min: float | None, score_max: float | None) -> Scale | None:
    if score_min is None and score_max is None:
        return None
    if score_min is None or score_max is None or not float("-inf") < score_min < score_max < float("inf"):
        raise CustomDataError(
            f"--score-min {score_min} --score-max {score_max}: give both, the worst and the best score there can be, "
            "the first below the second, such as --score-min 1 --score-max 10"
        )
    return Scale(score_min, score_max)


def _usual_scale(source: Source, layout: Layout, problems: list[Problem]) -> Scale:
    """0 to 1 if all scores are in that range. Otherwise the user has to say: five stars may be of five or of ten."""
    seen = []
    for column in layout.scores:
        for _, cells in source.rows:
            try:
                seen.append(number_of(column, cells.get(column)))
            except BadCell:
                continue  # reported when rows are made
    low, high = min(seen, default=0.0), max(seen, default=0.0)
    if low >= 0.0 and high <= 1.0:
        return Scale()
    what = f"scores go from {low:g} to {high:g}, so what the worst and the best possible score are cannot be told"
    fix = "say it with --score-min and --score-max (score_min=, score_max=), or write scores from 0 to 1"
    problems.append(Problem(what, fix, column=", ".join(layout.scores)))
    return Scale(min(low, 0.0), max(high, 1.0))  # so that other errors in these rows are still found


def write_local(
    file: Place,
    folder: Path,
    *,
    seed: int = 0,
    test_share: float = 0.1,
    test_file: Place | None = None,
    score_min: float | None = None,
    score_max: float | None = None,
    columns: Columns | None = None,
) -> Written:
    """Writes folder/train.parquet and folder/test.parquet from a user's file.

    test_file has the test rows; without one, `test_share` of the conversations are used for the test, by a hash of
    their beginning and `seed`, so that additional rows do not move others. score_min, score_max: the worst and best
    possible score, needed if any score is below 0 or above 1. columns: the user's names of columns. CustomDataError
    lists all errors, and then nothing is written.
    """
    train = examine(file, score_min, score_max, columns)
    test = None if test_file is None else examine(test_file, score_min, score_max, columns)
    return write_answers(train, test, folder, seed, test_share)


def write_answers(
    train: Answers, test: Answers | None, folder: Path, seed: int = 0, test_share: float = 0.1
) -> Written:
    """`write_local` for files that have been examined."""
    found: Written = write_parts(train, test, folder, partial(write_split, folder), seed, test_share)
    return found
