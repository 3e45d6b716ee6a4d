"""Reads the rows of a csv or tsv file by its header; a ragged row is a Problem, and reading continues.
Rows are numbered by their first line, as shown by an editor, even if cells contain line breaks."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from data_prep.faults import Problem
from data_prep.files.source import Source, bad_byte, content_of, header_problems

# The longest cell; far above what any model reads, and reported as too long when rows are checked.
_CSV_CELL_LIMIT = 2**30


def read_csv(path: Path, source: Source) -> None:
    """Adds the rows of a csv or tsv file to `source`; the separator is inferred from ending and header."""
    content = content_of(path, source)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        for number, line in enumerate(content.split(b"\n"), start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                source.problems.append(bad_byte(error, number))
        text = content.decode("utf-8", "replace")
    delimiter = _delimiter(path, text.partition("\n")[0])
    before = csv.field_size_limit(_CSV_CELL_LIMIT)
    try:
        # strict: otherwise an unclosed quotation mark would silently swallow the rest of the file
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        _take_csv(_numbered(reader, source), source)
    finally:
        csv.field_size_limit(before)


def _delimiter(path: Path, header: str) -> str:
    if path.suffix.lower() == ".tsv" or ("\t" in header and "," not in header):
        return "\t"
    return ";" if ";" in header and "," not in header else ","


def _numbered(reader: Any, source: Source) -> Iterator[tuple[int, list[str]]]:
    """Records with their first line; ends with a problem at the first one with broken quoting."""
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            source.problems.append(
                Problem(
                    "quotation marks are not closed as CSV wants it, nothing after this row was read",
                    'put the cell in "..." and double the marks inside it',
                    number,
                    detail=str(error),
                )
            )
            return
        yield number, cells


def _take_csv(records: Iterable[tuple[int, list[str]]], source: Source) -> None:
    header: list[str] | None = None
    blank = 0
    for number, cells in records:
        if not any(cell.strip() for cell in cells):
            blank += 1
        elif header is None:
            header = [name.strip() for name in cells]
            source.problems += header_problems(header, number)
        elif len(cells) != len(header):
            source.problems.append(
                Problem(
                    f"not as many cells as the header has columns ({len(header)})",
                    'put a cell that holds the separator or a line break in "..."',
                    number,
                    detail=f"{len(cells)} cells",
                )
            )
        else:
            source.add(number, dict(zip(header, cells, strict=True)))
    if blank:
        source.notes.append(f"blank lines skipped: {blank}")
