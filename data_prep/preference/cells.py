"""The content of one cell of a user's preference data: a text kept verbatim, messages, a label, a number; or an error.
Example: "good", "true", 1 and True are the label True; "maybe" is an error."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from data_prep.faults import shown
from data_prep.files.cells import BadCell, cell_text, checked_text
from data_prep.preference.schema import ROLES
from data_prep.schema import Message


class BadCells(BadCell):
    """Errors in several cells of a row; has the fields of the first, where one error is enough."""

    def __init__(self, cells: Sequence[BadCell]) -> None:
        first = cells[0]
        super().__init__(first.what, first.fix, first.column, first.detail)
        self.cells = cells


def all_of(*reads: Callable[[], Any]) -> list[Any]:
    """The results of all `reads`; BadCells with all errors, each once."""
    values = []
    wrong: dict[tuple[str, str | None], BadCell] = {}
    for read in reads:
        try:
            values.append(read())
        except BadCell as cell:
            for each in cell.cells if isinstance(cell, BadCells) else [cell]:
                wrong.setdefault((each.what, each.column), each)
    if wrong:
        raise BadCells(list(wrong.values()))
    return values


_LABELS = {"true": True, "1": True, "good": True, "false": False, "0": False, "bad": False}
_MESSAGE = '{"role": "user", "content": "..."}'
SPEAKERS = {"human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "assistant": "assistant"}
"""The roles in ShareGPT's files; system is system there too."""


def text_of(column: str, value: Any, optional: bool = False) -> str:
    """The cell as a text, with its white space; "" for an empty one if `optional`. BadCell if it is not text."""
    if isinstance(value, str) and value.strip():
        return checked_text(column, value)
    return cell_text(column, value, optional)


def messages_in(column: str, value: Any) -> list[Message] | None:
    """The messages of a cell with a list of them (or, as in CSV, its JSON text) or a single one; None if it is a text.

    They may be in ShareGPT's format: {"from": "human", "value": "..."}. BadCell for an unknown role, a blank turn or a
    message without the two texts; a system message may be blank.
    """
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if isinstance(value, dict) and {"role", "from"} & value.keys():
        value = [value]
    if not isinstance(value, list):
        return None
    if not value:
        raise BadCell("empty", "put messages there or delete the row", column)
    return [_message(column, number, message) for number, message in enumerate(value, start=1)]


def _message(column: str, number: int, message: Any) -> Message:
    cells = message if isinstance(message, dict) else {}
    shared = "from" in cells and "role" not in cells
    role, content = (cells.get(name) for name in (("from", "value") if shared else ("role", "content")))
    if shared and isinstance(role, str):
        role = SPEAKERS.get(role, role)
    if not isinstance(role, str) or not isinstance(content, str):
        fix = f"write every message as {_MESSAGE}"
        raise BadCell(
            "not a message with the texts role and content", fix, column, f"message {number}: {shown(message)}"
        )
    if role not in ROLES:
        fix = "use system, user or assistant" + (" (human, gpt)" if shared else "")
        raise BadCell("unknown role", fix, column, f"message {number}: {shown(role)}")
    if not content.strip() and role != "system":
        raise BadCell("a blank turn", "write its text or delete the row", column, f"message {number}, of the {role}")
    if content.strip():
        checked_text(column, content)
    return {"role": role, "content": content}


def label_of(column: str, value: Any) -> bool:
    """True for true, 1 and good, False for false, 0 and bad, in any case; BadCell for anything else."""
    if isinstance(value, bool):
        return value
    text = cell_text(column, value)
    if text.lower() not in _LABELS:
        raise BadCell("not a label", "write true or false, 1 or 0, good or bad", column, shown(text))
    return _LABELS[text.lower()]


def number_of(column: str, value: Any) -> float:
    """A finite number, possibly as text; BadCell for anything else."""
    if str(value).strip().lower() in ("true", "false"):
        fix = f"write 1 and 0, or say that these are labels with --columns label={column}"
        raise BadCell("a truth value, not a number", fix, column, shown(value))
    text = cell_text(column, value)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise BadCell("not a number", "put the score there or delete the row", column, shown(text))
    return number
