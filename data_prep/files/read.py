"""Reads a user's jsonl, json, csv or parquet file into rows of cells, without interpreting the cells.
No content causes a traceback: what cannot be read becomes a Problem with its row, and reading continues."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_prep.faults import Problem
from data_prep.files.csv_file import read_csv
from data_prep.files.hub_set import HubSet, read_hub
from data_prep.files.json_file import read_json
from data_prep.files.parquet import TooLargeError, read_parquet
from data_prep.files.source import LINES, TABLE, Source, header_problems

Place = Path | HubSet


def read(place: Place) -> Source:
    """The rows of a file, or of a split of a data set on the hub; ValueError if that cannot be loaded."""
    return read_hub(place) if isinstance(place, HubSet) else read_file(place)


def read_file(path: Path) -> Source:
    """The rows of `path` by its ending (.jsonl, .json, .csv, .tsv, .parquet); never raises for its content."""
    readers: dict[str, Callable[[Path, Source], None]] = {
        ".jsonl": read_json,
        ".ndjson": read_json,
        ".json": read_json,
        ".csv": read_csv,
        ".tsv": read_csv,
        ".parquet": _read_parquet,
    }
    source = Source(path, LINES)
    reader = readers.get(path.suffix.lower())
    if path.is_dir():
        source.problems.append(Problem("is a folder", "name a file in it"))
        return source
    if reader is None:
        source.problems.append(Problem(f"unknown kind of file {path.suffix!r}", f"use one of {', '.join(readers)}"))
        return source
    try:
        reader(path, source)
    except FileNotFoundError:
        source.problems.append(Problem("there is no such file", "check the path"))
    except OSError as error:
        source.problems.append(
            Problem(f"cannot be read ({error.strerror or error})", "check the path and its permissions")
        )
    if not source.rows and not source.problems:
        source.problems.append(Problem("has no rows", "write one problem per row, with a question and an answer"))
    return source


def _read_parquet(path: Path, source: Source) -> None:
    source.counting = TABLE
    try:
        table = read_parquet(path)
    except TooLargeError as error:
        source.problems.append(Problem("too large", "cut it into smaller files", detail=str(error)))
        return
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        reason = str(error).partition("\n")[0][:200]
        source.problems.append(Problem("not a readable parquet file", "write it again", detail=reason))
        return
    names = [name.strip() for name in table.column_names]
    problems = header_problems(names, None)
    source.problems += problems
    if problems:
        return
    columns = [_cells(table.column(at), name, source) for at, name in enumerate(names)]
    for number, cells in enumerate(zip(*columns, strict=True)):
        source.add(number, dict(zip(names, cells, strict=True)))


def _cells(column: pa.ChunkedArray, name: str, source: Source) -> list[Any]:
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError, pa.ArrowException):
        pass  # some cell cannot be converted to a Python value; find out which
    cells: list[Any] = []
    for number, cell in enumerate(column):
        try:
            cells.append(cell.as_py())
        except (ValueError, OverflowError, pa.ArrowException) as error:
            what = "not UTF-8" if isinstance(error, UnicodeDecodeError) else "unreadable value"
            source.problems.append(Problem(what, "write the cell again as text", number, name, str(error)[:100]))
            cells.append(None)
    return cells
