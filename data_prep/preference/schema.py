"""The row format of alignment data: one completion of one prompt and what is known of it; validate, write, read.
Example: {"prompt": [user asks], "completion": "Paris.", "score": 1.0, "feedback": "binary", "group": "prompt-1", ...}.

    prompt       list of {role, content}: the conversation before the completion; its last turn is the user's
    completion   the assistant's text, never blank
    score        0 to 1: how good it is; 1 or 0 where only better/worse or good/bad is known, 1 for instructions
    feedback     what was really known: "pairwise", "binary", "score" or "instruction"
    group        rows of one group answer the same prompt and may be compared: one pair, or all answers to a prompt
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

from data_prep.schema import ExtraInfo, Message, SchemaError, plain, refuse_no_file, write_table

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
    """Raises SchemaError unless `row` has all columns in the right form. `where` names file and row for the message."""
    for column in COLUMNS:
        if row.get(column) is None:
            raise SchemaError(f"{where}, column {column}: missing or null; every row needs {', '.join(COLUMNS)}")
    for column in ("completion", "group", "data_source"):
        text = row[column]
        _demand(isinstance(text, str) and text.strip(), where, column, "must be text, not blank", text)
    _validate_prompt(row["prompt"], where)
    feedback, score = row["feedback"], row["score"]
    _demand(feedback in FEEDBACK, where, "feedback", f"must be one of {', '.join(FEEDBACK)}", feedback)
    numeric = isinstance(score, int | float) and not isinstance(score, bool) and math.isfinite(score)
    _demand(numeric and 0.0 <= score <= 1.0, where, "score", "must be a number from 0 to 1", score)
    if feedback == "instruction":
        _demand(score == 1.0, where, "score", "must be 1 for an instruction", score)
    elif feedback != "score":
        _demand(score in (0.0, 1.0), where, "score", f"must be 0 or 1 where feedback is {feedback}", score)
    extra = row["extra_info"]
    indexed = isinstance(extra, Mapping) and type(extra.get("index")) is int and isinstance(extra.get("split"), str)
    _demand(indexed, where, "extra_info", "must hold index (whole number) and split (text)", extra)


def _validate_prompt(prompt: Any, where: str) -> None:
    _demand(isinstance(prompt, list) and len(prompt) > 0, where, "prompt", "must be a list of messages", prompt)
    for message in prompt:
        well_formed = isinstance(message, Mapping) and all(isinstance(message.get(k), str) for k in ("role", "content"))
        _demand(well_formed, where, "prompt", "every message must hold the texts role and content", message)
        _demand(message["role"] in ROLES, where, "prompt", f"a role must be one of {', '.join(ROLES)}", message["role"])
        blank = message["role"] != "system" and not message["content"].strip()
        _demand(not blank, where, "prompt", "no turn of the user or the assistant may be blank", message)
    _demand(prompt[-1]["role"] == "user", where, "prompt", "the last turn must be the user's", prompt[-1])


def _demand(condition: Any, where: str, column: str, rule: str, value: Any) -> None:
    if not condition:
        shown = repr(value)
        shown = shown if len(shown) <= 200 else shown[:197] + "..."
        raise SchemaError(f"{where}, column {column}: {rule}; got {shown}")


def normalise_row(row: Mapping[str, Any], where: str) -> Row:
    """The schema columns of `row` as plain lists and numbers (other columns and message keys dropped), validated."""
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
    """Validates the rows and writes them to `path` as parquet; the file appears whole or not at all."""
    listed = [normalise_row(row, f"{path}, row {number}") for number, row in enumerate(rows)]
    if not listed:
        raise SchemaError(f"{path}: no rows to write")
    _check_groups(listed, path)
    write_table(path, pa.Table.from_pylist(listed, schema=_ARROW))


def read_rows(path: Path) -> list[Row]:
    """All rows of a parquet file in this format; further columns are ignored. SchemaError names the first bad row."""
    refuse_no_file(path)
    try:
        present = pq.read_schema(path).names
    except (pa.ArrowException, OSError) as error:
        raise SchemaError(f"{path}: not a readable parquet file ({error})") from None
    missing = [column for column in COLUMNS if column not in present]
    if missing:
        raise SchemaError(f"{path}: lacks the columns {', '.join(missing)}; it has {', '.join(present)}")
    listed = pq.read_table(path, columns=list(COLUMNS)).to_pylist()
    rows = [normalise_row(row, f"{path}, row {number}") for number, row in enumerate(listed)]
    _check_groups(rows, path)
    return rows


def is_preference_file(path: Path) -> bool:
    """Whether `path` is a parquet file with the columns of this format."""
    try:
        return set(COLUMNS) <= set(pq.read_schema(path).names)
    except (pa.ArrowException, OSError):
        return False
