"""The text in one cell of a user's file, or why there is none.
Example: 72.0, where pandas filled gaps, is the text "72"; {"a": 1} is an error."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from data_prep.faults import shorten, shown
from data_prep.files.columns import ANSWER
from data_prep.schema import SchemaError

MOST_CHARS = 200_000


class BadCell(Exception):
    """An error in one cell; the fields are those of the resulting Problem."""

    def __init__(self, what: str, fix: str, column: str | None, detail: str = "") -> None:
        super().__init__(what)
        self.what, self.fix, self.column, self.detail = what, fix, column, detail


def bad_cell(error: SchemaError, page: str) -> BadCell:
    """A schema's error about a row at "@", as an error of its cell. page: the documentation of the format."""
    column, _, text = str(error).removeprefix("@, column ").partition(": ")
    what, _, rest = text.partition("; ")
    if rest.startswith("got "):
        return BadCell(what, f"see {page} for the row format", column, shorten(rest[4:]))
    return BadCell(what, rest, column)


def refuse_foreign(used: Sequence[str], cells: Mapping[str, Any]) -> None:
    """BadCell for a row that holds something, but nothing in the columns `used` by the file's other rows."""
    has = [column for column, value in cells.items() if value not in (None, "")]
    if used and has and not {*used} & {*has}:
        fix = f"give it what the file's other rows have ({', '.join(used)}), or delete it"
        raise BadCell("a row of another kind", fix, None, f"the row has {', '.join(has)}")


def cell_text(column: str, value: Any, optional: bool = False) -> str:
    """The cell as stripped text, numbers as written; "" for an empty one if `optional`. BadCell if it is not text."""
    if isinstance(value, float) and math.isnan(value):
        value = None
    if value is None or (isinstance(value, str) and not value.strip()):
        if optional:
            return ""
        raise BadCell("empty", f"put the {_noun(column)} there or delete the row", column)
    if isinstance(value, str):
        return checked_text(column, value).strip()
    if isinstance(value, bool):
        raise BadCell("a truth value, not a text", 'write it as text, such as "yes"', column, shown(value))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        # pandas turns 72 into 72.0 if a column has gaps
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    fix = "write one text or number" + ("; two answers are columns chosen and rejected" if column == "output" else "")
    raise BadCell(f"a {type(value).__name__}, not one text", fix, column, shown(value))


def _noun(column: str) -> str:
    return "final answer" if column.lower() in ANSWER else column


def checked_text(column: str, text: str) -> str:
    """`text`, if it can be a training text: not enormous, no NUL, no lone surrogates. BadCell otherwise."""
    if len(text) > MOST_CHARS:
        fix = "shorten it or delete the row"
        raise BadCell(f"longer than {MOST_CHARS:,} characters", fix, column, f"{len(text):,} characters")
    if "\0" in text:
        raise BadCell("holds a NUL character", "delete it", column, f"at character {text.index(chr(0)) + 1}")
    if text.strip().lower() == "nan":
        raise BadCell("not a value", f"put the {_noun(column)} there or delete the row", column, shown(text))
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        place = f"at character {error.start + 1}"
        raise BadCell("holds half a character (a lone surrogate)", "delete it", column, place) from None
    return text
