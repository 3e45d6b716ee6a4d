"""The train and test file of a task: written together, without repeated problems."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from data_prep.faults import count
from data_prep.schema import Row, SchemaError, content_hash, write_rows

T = TypeVar("T")


@dataclass(frozen=True)
class Prepared:
    """The two files written: paths and numbers of rows."""

    train: Path
    test: Path
    n_train: int
    n_test: int

    def __str__(self) -> str:
        """Includes the content hashes, for which the files are read."""
        files = ((self.train, self.n_train), (self.test, self.n_test))
        return "\n".join(f"{file}: {count(n, 'row')}, content sha256 {content_hash(file)}" for file, n in files)


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
    return Prepared(paths["train"], paths["test"], len(train), len(test))


def write_generated(
    out_dir: Path,
    numbers: tuple[int, int],
    generate: Callable[..., Sequence[Any]],
    to_row: Callable[[Any, int, str], Row],
    key: Callable[[Row], Hashable],
    what: str,
    exclude: Collection[Hashable],
) -> Prepared:
    """Writes files of generated, disjoint problems; the test file does not depend on the number of training rows.

    Args:
        numbers: of train and test rows.
        generate: `generate(n, split=, exclude=)` gives n problems with a `key`, none of which is in `exclude`.
        key, what: as in `write_distinct`.
    """
    test = generate(numbers[1], split="test", exclude=exclude)
    train = generate(numbers[0], split="train", exclude={*exclude, *(problem.key for problem in test)})
    train_rows, test_rows = (
        [to_row(problem, index, split) for index, problem in enumerate(problems)]
        for split, problems in (("train", train), ("test", test))
    )
    return write_distinct(out_dir, train_rows, test_rows, key, what)


def shuffled(items: Sequence[T], rng: random.Random) -> list[T]:
    """All items in an order drawn from `rng`, the same in every version of Python."""
    # Not rng.shuffle(): only random() is guaranteed to stay the same.
    order = sorted((rng.random(), position) for position in range(len(items)))
    return [items[position] for _, position in order]


def chosen_rows(total: int, size: int) -> list[int]:
    """The rows of a test file that a validation of `size` uses, in ascending order; all of them if size is -1.

    They are the same for every stage, seed and evaluation, spread over the file (which may be sorted by difficulty),
    and a smaller choice is a subset of a larger one.
    """
    if not 0 < size < total:
        return list(range(total))
    return sorted(rows_by_chance(total)[:size])


def rows_by_chance(total: int) -> list[int]:
    """All rows in a pseudo-random order, always the same for one total."""
    # By a hash, not a random generator: the order is the same in every version of every library.
    return sorted(range(total), key=lambda row: hashlib.blake2b(str(row).encode(), digest_size=8).digest())
