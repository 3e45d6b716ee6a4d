"""A user's file as understood, and its split into training and test rows, for problems and preferences alike.
Test rows are chosen by a hash, so that additional rows do not move others."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import pyarrow as pa

from data_prep.faults import CustomDataError, OneQuestionError, Problem, listing
from data_prep.files.source import Source
from data_prep.schema import SchemaError

R = TypeVar("R", bound=Mapping[str, Any])


@dataclass(kw_only=True)
class Examined(ABC, Generic[R]):
    """A file as understood. rows: the valid ones, rows[i] made from the user's row numbers[i].

    problems: all errors; the rows are only usable if there are none.
    """

    source: Source
    rows: list[R] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    what: ClassVar[str]
    """What the keys identify: "questions"."""

    in_both: ClassVar[tuple[str, str]]
    """The error of a row whose key is also in the test file, and the fix."""

    @abstractmethod
    def key(self, row: R) -> str:
        """What must not be in both parts."""

    @cached_property
    def keys(self) -> list[str]:
        """The keys of the rows."""
        return [self.key(row) for row in self.rows]

    def complaint(self) -> str:
        """All problems, as text."""
        return listing(self.source.path, self.problems, self.source.counting)


def refuse_faulty(*parts: Examined[Any] | None) -> None:
    """Raises CustomDataError with all errors in the files."""
    if complaints := [part.complaint() for part in parts if part is not None and part.problems]:
        raise CustomDataError("\n".join(complaints))


def write_parts(
    train: Examined[R],
    test: Examined[R] | None,
    folder: Path,
    write: Callable[[list[R], list[R]], Any],
    seed: int,
    test_share: float,
) -> Any:
    """Writes the training and test rows by `write`, and returns its result.

    Raises:
        CustomDataError: for files with errors or to be overwritten, an empty part, or an unwritable folder.
    """
    refuse_faulty(train, test)
    for part in (train, test):
        targets = {(folder / f"{split}.parquet").resolve() for split in ("train", "test")}
        if part is not None and part.source.path.resolve() in targets:
            raise CustomDataError(f"{part.source.path} would be overwritten; choose another folder")
    rows = split_files(train, test, seed, test_share)
    try:
        return write(*rows)
    except (SchemaError, pa.ArrowException, OSError) as error:
        raise CustomDataError(f"{folder}: cannot be written ({error})") from None


def split_files(train: Examined[R], test: Examined[R] | None, seed: int, test_share: float) -> tuple[list[R], list[R]]:
    """(training rows, test rows) from one file, or from two. CustomDataError for an empty part, or keys in both."""
    if test is None:
        return split_rows(train, seed, test_share)
    tested = dict(zip(test.keys, test.numbers, strict=True))
    what, fix = train.in_both
    common = {
        number: Problem(what.format(test.source.path), fix, number, detail=f"row {tested[key]} there")
        for key, number in zip(train.keys, train.numbers, strict=True)
        if key in tested
    }
    if common:
        raise CustomDataError(listing(train.source.path, list(common.values()), train.source.counting))
    return train.rows, test.rows


def split_rows(examined: Examined[R], seed: int, test_share: float) -> tuple[list[R], list[R]]:
    """(training rows, test rows): test rows are those with a key whose hash, a number in [0, 1), is below the share.

    Raises:
        CustomDataError: for an invalid share, or if one of the two parts would be empty.
    """
    path, what = examined.source.path, examined.what
    if not 0.0 < test_share < 1.0:
        raise CustomDataError(f"--test-share {test_share}: must be between 0 and 1, such as 0.1")
    places = [_place(key, seed) for key in examined.keys]
    drawn = [place < test_share for place in places]
    if len(set(places)) == 1:
        raise OneQuestionError(
            f"{path}: has 1 different {what[:-1]}, and a training and a test part need at least 2; add some, or give "
            f"`python3 -m data_prep validate {path} --out FOLDER` a file of test rows with --test"
        )
    if all(drawn) or not any(drawn):
        empty = "train" if all(drawn) else "test"
        # the share at which the nearest key changes sides, rounded accordingly
        nearest = max(places) - 5e-5 if all(drawn) else min(places) + 5e-5
        raise CustomDataError(
            f"{path}: of its {len(set(places))} different {what} none falls into the {empty} part with --test-share "
            f"{test_share} and --seed {seed}; take --test-share {nearest:.4f}, another --seed, or a file of test rows "
            f"with --test: flags of `python3 -m data_prep validate {path} --out FOLDER`, a folder for --data"
        )
    rows = list(zip(examined.rows, drawn, strict=True))
    return [row for row, in_test in rows if not in_test], [row for row, in_test in rows if in_test]


def _place(key: str, seed: int) -> float:
    return int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:8], "big") / 2**64
