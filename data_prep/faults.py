"""Errors in a user's data file: collected, grouped by kind, each with its row, column and fix.
Example: "row 17, column answer: empty; put the final answer there or delete the row"."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SHOWN_OF_A_KIND = 5
_ROWS_NAMED = 8


class CustomDataError(ValueError):
    """A user's data file that cannot be used; the message lists the errors with row and fix."""


class OneQuestionError(CustomDataError):
    """A file with a single question, which cannot be split."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One error. what: its kind, the same for all rows with it. fix: what to do about it.

    row: as the user counts, None for the entire file. detail: the content of this row, if that helps.
    """

    what: str
    fix: str
    row: int | None = None
    column: str | None = None
    detail: str = ""

    def __str__(self) -> str:
        place = [] if self.row is None else [f"row {self.row}"]
        place += [] if self.column is None else [f"column {self.column}"]
        detail = f" ({self.detail})" if self.detail else ""
        return (", ".join(place) + ": " if place else "") + f"{self.what}{detail}; {self.fix}"


def listing(path: Path, problems: Sequence[Problem], counting: str = "") -> str:
    """All problems of a file as text, grouped by kind: the first five, then the number of others.

    counting: how rows are counted in this kind of file, e.g. "row = line of the file, the first is 1".
    """
    groups: dict[tuple[str, str | None], list[Problem]] = {}
    for problem in problems:
        groups.setdefault((problem.what, problem.column), []).append(problem)
    rows = len({problem.row for problem in problems if problem.row is not None})
    where = f" in {count(rows, 'row')} ({counting})" if rows and counting else ""
    lines = [f"{path}: {count(len(problems), 'problem')}{where}"]
    for group in groups.values():
        lines += [f"  {problem}" for problem in group[:SHOWN_OF_A_KIND]]
        if len(group) > SHOWN_OF_A_KIND:
            lines.append(f"  ... and {count(len(group) - SHOWN_OF_A_KIND, 'more row')} of this kind")
    return "\n".join(lines)


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def meant(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: '; did you mean X?' if a known one is similar, else '.'."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else "."


def shown(value: object, length: int = 80) -> str:
    """The repr of `value`, shortened to `length` characters."""
    if isinstance(value, str | bytes):
        value = value[:length]  # the repr of an enormous text takes long
    try:
        return shorten(repr(value), length)
    except RecursionError:
        return f"a deeply nested {type(value).__name__}"


def shorten(text: str, length: int = 80) -> str:
    """`text` shortened to `length` characters."""
    return text if len(text) <= length else text[: length - 3] + "..."


def unsplit(split: Callable[[], object], by_file: bool) -> list[str]:
    """A note if a file cannot be split into a training and a test part, which only matters for training.

    Raises:
        CustomDataError: if no seed can split it, or it conflicts with a given test file (`by_file`).
    """
    try:
        split()
    except CustomDataError as error:
        if by_file or isinstance(error, OneQuestionError):
            raise
        return [f"  note: training on it requires a split: {error}"]
    return []


def quantiles(values: Sequence[int]) -> str:
    """The range of the values, their median and their 95 % quantile, in words."""
    ordered = sorted(values)
    median, high = (ordered[round(share * (len(ordered) - 1))] for share in (0.5, 0.95))
    return f"{ordered[0]:,} to {ordered[-1]:,}, half up to {median:,}, 95 % up to {high:,}"


def named(numbers: Sequence[int]) -> str:
    """The first of these row numbers, in words."""
    return "row " + ", ".join(map(str, numbers[:_ROWS_NAMED])) + (", ..." if len(numbers) > _ROWS_NAMED else "")
