"""A data set in the hub's layout (parquet, jsonl or csv files next to a card), from the hub or a local folder.
Example: HubSet("openai/gsm8k", "main", "train"), in words openai/gsm8k/main:train."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from data_prep.asking_hub import asking_hub
from data_prep.faults import CustomDataError
from data_prep.files.source import TABLE, Source


@dataclass(frozen=True)
class HubSet:
    """One split. name: owner/name on the hub, or a folder. part: the hub's config."""

    name: str
    part: str | None
    split: str

    def __str__(self) -> str:
        return f"{self.name}{f'/{self.part}' if self.part else ''}:{self.split}"

    def resolve(self) -> Path:
        """A path, as if it were a file that could be overwritten."""
        return Path(str(self)).resolve()


def read_hub(wanted: HubSet) -> Source:
    """All its rows. CustomDataError if they cannot be loaded."""
    source = Source(Path(str(wanted)), TABLE)
    with _told(str(wanted), wanted.name):
        for number, row in enumerate(_load(wanted, streaming=False)):
            source.add(number, dict(row))
    return source


@cache
def hub_columns(wanted: HubSet) -> Sequence[str]:
    """The names of its columns, without downloading all of it. CustomDataError if it cannot be loaded."""
    with _told(str(wanted), wanted.name):
        # Streams cannot be sliced.
        return list(next(iter(_load(replace(wanted, split=wanted.split.partition("[")[0]), streaming=True)), {}))


@cache
def split_names(name: str, part: str | None) -> list[str]:
    """Its splits. CustomDataError if it cannot be loaded."""
    from datasets import get_dataset_split_names

    with _told(f"{name}{f'/{part}' if part else ''}", name):
        found: list[str] = get_dataset_split_names(name, part)
    return found


def _load(wanted: HubSet, *, streaming: bool) -> Iterable[Mapping[str, Any]]:
    from datasets import load_dataset  # takes seconds to import

    found: Iterable[Mapping[str, Any]]
    found = load_dataset(wanted.name, wanted.part, split=wanted.split, streaming=streaming)
    return found


@contextmanager
def _told(what: str, name: str) -> Iterator[None]:
    """Turns any exception of `datasets` into one line."""
    try:
        with asking_hub(f"data set {what}", name):
            yield
    except Exception as error:  # of many kinds: offline, no such data set, part or split
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise CustomDataError(
            f"--data {what}: cannot be loaded ({why}); check the name, the split (NAME:SPLIT), the part "
            f"(OWNER/NAME/PART), HF_TOKEN and the network, or download it and give its folder"
        ) from None
