"""What is wrong with a user's data file, for people: gathered, grouped by kind, each with its row, column and fix.
Example: "row 17, column answer: empty; put the final answer there or delete the row"."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SHOWN_OF_A_KIND = 5
_ROWS_NAMED = 8


class CustomDataError(ValueError):
    """A user's data file that cannot be used; the message lists what is wrong, where, and the fix."""


class OneQuestionError(CustomDataError):
    """No share and no seed can split a file of one question."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. what: its kind, the same for all rows that share it. fix: what to do about it.

    row: as the user counts, None for the file as a whole. detail: what this row holds, if that helps.
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
    """All problems of a file as text, grouped: the first five of a kind, then how many more there are.

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
    """The end of a sentence about an unknown word: '; did you mean X?' when a known one is close, else '.'."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else "."


def shown(value: object, length: int = 80) -> str:
    """`value` as Python writes it, cut to `length` characters."""
    if isinstance(value, str | bytes):
        value = value[:length]  # writing out an enormous text takes long
    try:
        return shorten(repr(value), length)
    except RecursionError:
        return f"a deeply nested {type(value).__name__}"


def shorten(text: str, length: int = 80) -> str:
    """`text` cut to `length` characters."""
    return text if len(text) <= length else text[: length - 3] + "..."


def unsplit(split: Callable[[], object], by_file: bool) -> list[str]:
    """A note where a file does not fall into a training and a test part, which only matters where it is trained on.

    Raises:
        CustomDataError: where no draw can split it, or a test file was given (`by_file`) that does not go with it.
    """
    try:
        split()
    except CustomDataError as error:
        if by_file or isinstance(error, OneQuestionError):
            raise
        return [f"  note: to train on it, it has to be split: {error}"]
    return []


def quantiles(values: Sequence[int]) -> str:
    """The range of the values, their median and their 95 % quantile, in words."""
    ordered = sorted(values)
    median, high = (ordered[round(share * (len(ordered) - 1))] for share in (0.5, 0.95))
    return f"{ordered[0]:,} to {ordered[-1]:,}, half up to {median:,}, 95 % up to {high:,}"


def named(numbers: Sequence[int]) -> str:
    """The first rows of a list of row numbers, in words."""
    return "row " + ", ".join(map(str, numbers[:_ROWS_NAMED])) + (", ..." if len(numbers) > _ROWS_NAMED else "")
