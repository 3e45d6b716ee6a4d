"""A user's data file as read: rows of cells, what could not be read, and harmless oddities.
Example row: (17, {"question": "What is 2 + 2?", "answer": 4}), where 17 is the line shown by the user's editor."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_prep.faults import Problem

LINES = "row = line of the file, the first is 1"
ITEMS = "row = item of the list, the first is 1"
TABLE = "row = row of the table, the first is 0"

SAVE_AS_UTF8 = "save the file as UTF-8"
_BOM = b"\xef\xbb\xbf"


@dataclass
class Source:
    """The content of a file. rows: (number as the user counts, cells by column). columns: all names, in file order.

    problems: what could not be read. notes: harmless oddities. counting: how rows are numbered.
    """

    path: Path
    counting: str
    rows: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, number: int, cells: dict[str, Any]) -> None:
        """Adds a row and its columns."""
        self.rows.append((number, cells))
        for column in cells:
            if column not in self.columns:
                self.columns.append(column)


def content_of(path: Path, source: Source) -> bytes:
    """The bytes of a text file without byte-order mark; empty, with a problem, if it is UTF-16."""
    content = path.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        source.problems.append(Problem("is UTF-16 text", SAVE_AS_UTF8))
        return b""
    if content.startswith(_BOM):
        source.notes.append("the byte-order mark at the beginning is ignored")
        content = content.removeprefix(_BOM)
    if b"\r\n" in content:
        source.notes.append("lines end in CRLF, which is read like LF")
    return content


def bad_byte(error: UnicodeDecodeError, row: int) -> Problem:
    """A line that is not UTF-8."""
    byte = error.object[error.start]
    return Problem(
        "not UTF-8", SAVE_AS_UTF8, row, detail=f"byte 0x{byte:02x} at position {error.start + 1} of the line"
    )


def header_problems(names: list[str], row: int | None) -> list[Problem]:
    """The problems with column names."""
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    found = [Problem("two columns have this name", "rename or delete one", row, name) for name in twice]
    if "" in names:
        fix = "name it in the header"
        found.append(Problem("a column has no name", fix, row, detail=f"column {names.index('') + 1}"))
    return found
