"""The row format of alignment data: one completion of one prompt, with feedback; validate, write, read.
Example: {"prompt": [user asks], "completion": "Paris.", "score": 1.0, "feedback": "binary", "group": "prompt-1", ...}.

    prompt       list of {role, content}: the conversation before the completion; its last turn is the user's
    completion   the assistant's text, never blank
    score        0 to 1: how good it is; 1 or 0 where only better/worse or good/bad is known, 1 for instructions
    feedback     the kind of feedback: "pairwise", "binary", "score" or "instruction"
    group        rows of a group answer the same prompt and may be compared: one pair, or all answers to a prompt
    data_source  where the row comes from
    extra_info   {"index": 0, "split": "train"}
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, cast

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.schema import ExtraInfo, Message, SchemaError, demand, demand_columns, plain, read_columns, write_table

FEEDBACK = ("pairwise", "binary", "score", "instruction")
ROLES = ("system", "user", "assistant")


class Row(TypedDict):
    prompt: list[Message]
    completion: str
    score: float
    feedback: str
    group: str
    data_source: str
    extra_info: ExtraInfo


COLUMNS = tuple(Row.__annotations__)

_TEXT = pa.string()
_ARROW = pa.schema(
    [
        ("prompt", pa.list_(pa.struct([("role", _TEXT), ("content", _TEXT)]))),
        ("completion", _TEXT),
        ("score", pa.float64()),
        ("feedback", _TEXT),
        ("group", _TEXT),
        ("data_source", _TEXT),
        ("extra_info", pa.struct([("index", pa.int64()), ("split", _TEXT)])),
    ]
)


def validate_row(row: Mapping[str, Any], where: str) -> None:
    """Raises SchemaError unless `row` has all columns in the right form. where: file and row, for the message."""
    demand_columns(row, COLUMNS, where)
    for column in ("completion", "group", "data_source"):
        text = row[column]
        demand(isinstance(text, str) and bool(text.strip()), where, column, "must be text, not blank", text)
    _validate_prompt(row["prompt"], where)
    feedback, score = row["feedback"], row["score"]
    demand(feedback in FEEDBACK, where, "feedback", f"must be one of {', '.join(FEEDBACK)}", feedback)
    numeric = isinstance(score, int | float) and not isinstance(score, bool) and math.isfinite(score)
    demand(numeric and 0.0 <= score <= 1.0, where, "score", "must be a number from 0 to 1", score)
    if feedback == "instruction":
        demand(score == 1.0, where, "score", "must be 1 for an instruction", score)
    elif feedback != "score":
        demand(score in (0.0, 1.0), where, "score", f"must be 0 or 1 where feedback is {feedback}", score)


def _validate_prompt(prompt: Any, where: str) -> None:
    for message in prompt:
        demand(message["role"] in ROLES, where, "prompt", f"a role must be one of {', '.join(ROLES)}", message["role"])
        blank = message["role"] != "system" and not message["content"].strip()
        demand(not blank, where, "prompt", "no turn of the user or the assistant may be blank", message)
    demand(prompt[-1]["role"] == "user", where, "prompt", "the last turn must be the user's", prompt[-1])


def normalise_row(row: Mapping[str, Any], where: str) -> Row:
    """The schema columns of `row` as plain lists and numbers, validated; other columns and message keys are dropped."""
    normal = {column: plain(row.get(column)) for column in COLUMNS}
    validate_row(normal, where)
    normal["prompt"] = [{"role": turn["role"], "content": turn["content"]} for turn in normal["prompt"]]
    normal["score"] = float(normal["score"])
    return cast(Row, normal)


def torn_groups(rows: Sequence[Row]) -> Iterator[tuple[int, int, str]]:
    """Rows that do not belong to their group: (position, position of the group's first row, column that differs).

    The rows of a group answer the same prompt and have the same kind of feedback.
    """
    first: dict[str, int] = {}
    for number, row in enumerate(rows):
        at = first.setdefault(row["group"], number)
        if row["prompt"] != rows[at]["prompt"]:
            yield number, at, "prompt"
        elif row["feedback"] != rows[at]["feedback"]:
            yield number, at, "feedback"


def _check_groups(rows: Sequence[Row], path: Path) -> None:
    for number, first, column in torn_groups(rows):
        raise SchemaError(
            f"{path}, row {number}, column group: {rows[number]['group']!r} is also the group of row {first}, which "
            f"has another {column}; rows of a group answer the same prompt and have the same kind of feedback"
        )


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Validates the rows and writes them to `path` as parquet, atomically."""
    listed = [normalise_row(row, f"{path}, row {number}") for number, row in enumerate(rows)]
    if not listed:
        raise SchemaError(f"{path}: no rows to write")
    _check_groups(listed, path)
    write_table(path, pa.Table.from_pylist(listed, schema=_ARROW))


def read_rows(path: Path) -> list[Row]:
    """All rows of a parquet file in this format; other columns are ignored. SchemaError names the first bad row."""
    listed = read_columns(path, COLUMNS)
    rows = [normalise_row(row, f"{path}, row {number}") for number, row in enumerate(listed)]
    _check_groups(rows, path)
    return rows


def is_preference_file(path: Path) -> bool:
    """Whether `path` is a parquet file with the columns of this format."""
    try:
        return set(COLUMNS) <= set(pq.read_schema(path).names)
    except (pa.ArrowException, OSError):
        return False
