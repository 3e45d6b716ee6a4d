"""The train and test file of a task: written together, with no problem twice in them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.faults import count
from data_prep.schema import Row, SchemaError, content_hash, write_rows


@dataclass(frozen=True)
class Prepared:
    """What was written: paths, numbers of rows and content hashes of the two files."""

    train: Path
    test: Path
    n_train: int
    n_test: int
    train_hash: str
    test_hash: str

    def __str__(self) -> str:
        return (
            f"{self.train}: {count(self.n_train, 'row')}, content sha256 {self.train_hash}\n"
            f"{self.test}: {count(self.n_test, 'row')}, content sha256 {self.test_hash}"
        )


def write_distinct(
    out_dir: Path, train: Sequence[Row], test: Sequence[Row], key: Callable[[Row], Hashable], what: str
) -> Prepared:
    """Writes out_dir/train.parquet and out_dir/test.parquet.

    Args:
        key: rows with equal keys are the same `what` ("problem").

    Raises:
        SchemaError: if a file would have no rows, or a key occurs twice in one of them or in both.
    """
    parts = {"train": train, "test": test}
    paths = {split: out_dir / f"{split}.parquet" for split in parts}
    for split, rows in parts.items():
        if not rows:
            raise SchemaError(f"{paths[split]} would have no rows; ask for at least one")
    first: dict[Hashable, str] = {}
    for split, rows in parts.items():
        for number, row in enumerate(rows):
            where = f"{paths[split]}, row {number}"
            if (earlier := first.setdefault(key(row), where)) != where:
                raise SchemaError(f"{where}, column reward_model: the same {what} as {earlier}")
    for split, rows in parts.items():
        write_rows(paths[split], rows)
    hashes = {split: content_hash(path) for split, path in paths.items()}
    return Prepared(paths["train"], paths["test"], len(train), len(test), hashes["train"], hashes["test"])


def chosen_rows(total: int, size: int) -> list[int]:
    """Which rows of a test file a validation of `size` takes, in ascending order; all of them where size is -1.

    The same rows for every stage, seed and evaluation, spread over files that are sorted by difficulty, and a smaller
    choice is a part of a larger one.
    """
    if not 0 < size < total:
        return list(range(total))
    return sorted(rows_by_chance(total)[:size])


def rows_by_chance(total: int) -> list[int]:
    """All rows in an order that has nothing to do with theirs, always the same for one total."""
    # A hash, not a random generator: its order is the same in every version of every library.
    return sorted(range(total), key=lambda row: hashlib.blake2b(str(row).encode(), digest_size=8).digest())
