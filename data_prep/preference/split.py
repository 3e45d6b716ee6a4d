"""Train and test files of alignment data, with no conversation in both.
Rows are grouped by the beginning of their conversation, so that no test prompt continues a training conversation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.preference.schema import Row, write_rows
from data_prep.schema import Message, SchemaError, numbered
from data_prep.split import Prepared


@dataclass(frozen=True)
class Written(Prepared):
    """left_out: the number of skipped rows of the source, by reason."""

    left_out: Mapping[str, int] = field(default_factory=dict)


def prompt_group(prompt: Sequence[Message]) -> str:
    """The `group` of all answers to exactly this prompt."""
    return f"prompt-{hashlib.sha256(json.dumps(prompt, sort_keys=True).encode()).hexdigest()[:16]}"


def beginning(prompt: Iterable[Message]) -> str:
    """The beginning of a conversation: the user's first message, ignoring case and white space."""
    first = next((message["content"] for message in prompt if message["role"] == "user"), "")
    return " ".join(first.casefold().split())


def shared_beginnings(train: Sequence[Row], test: Sequence[Row]) -> list[tuple[int, int]]:
    """(training row, test row) of conversations with the same beginning."""
    tested = {beginning(row["prompt"]): number for number, row in enumerate(test)}
    starts = (beginning(row["prompt"]) for row in train)
    return [(number, tested[start]) for number, start in enumerate(starts) if start in tested]


def write_split(
    folder: Path, train: Sequence[Row], test: Sequence[Row], left_out: Mapping[str, int] | None = None
) -> Written:
    """Writes folder/train.parquet and folder/test.parquet, with rows renumbered.

    Raises:
        SchemaError: if a file would have no rows, a row is malformed, or both files have the same beginning.
    """
    paths = {split: folder / f"{split}.parquet" for split in ("train", "test")}
    parts = {"train": train, "test": test}
    for split, rows in parts.items():
        if not rows:
            raise SchemaError(f"{paths[split]} would have no rows; ask for at least one")
    for number, other in shared_beginnings(train, test):
        raise SchemaError(
            f"{paths['train']}, row {number}, column prompt: the conversation begins like that of row {other} of "
            f"{paths['test']}; nothing may be in both"
        )
    # The test file first: a folder with a train file is complete.
    for split in ("test", "train"):
        write_rows(paths[split], numbered(parts[split], split))
    return Written(paths["train"], paths["test"], len(train), len(test), dict(left_out or {}))
