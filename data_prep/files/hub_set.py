"""A data set as the hub lays it out (parquet, jsonl or csv files beside a card), from the hub or a folder of it.
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
    """One split. name: owner/name on the hub, or a folder. part: what the hub calls a config."""

    name: str
    part: str | None
    split: str

    def __str__(self) -> str:
        return f"{self.name}{f'/{self.part}' if self.part else ''}:{self.split}"

    def resolve(self) -> Path:
        """As of a file that could be overwritten."""
        return Path(str(self)).resolve()


def read_hub(wanted: HubSet) -> Source:
    """All its rows. CustomDataError if they cannot be had."""
    source = Source(Path(str(wanted)), TABLE)
    with _told(str(wanted)):
        for number, row in enumerate(_load(wanted, streaming=False)):
            source.add(number, dict(row))
    return source


@cache
def hub_columns(wanted: HubSet) -> Sequence[str]:
    """The names of its columns, without all of it being downloaded. CustomDataError if it cannot be had."""
    with _told(str(wanted)):
        # A stream has no slices.
        return list(next(iter(_load(replace(wanted, split=wanted.split.partition("[")[0]), streaming=True)), {}))


@cache
def split_names(name: str, part: str | None) -> list[str]:
    """Its splits. CustomDataError if it cannot be had."""
    from datasets import get_dataset_split_names

    with _told(f"{name}{f'/{part}' if part else ''}"):
        found: list[str] = get_dataset_split_names(name, part)
    return found


def _load(wanted: HubSet, *, streaming: bool) -> Iterable[Mapping[str, Any]]:
    from datasets import load_dataset  # takes seconds to import

    found: Iterable[Mapping[str, Any]]
    found = load_dataset(wanted.name, wanted.part, split=wanted.split, streaming=streaming)
    return found


@contextmanager
def _told(what: str) -> Iterator[None]:
    """What `datasets` raises, as one line."""
    try:
        with asking_hub(f"data set {what}"):
            yield
    except Exception as error:  # many kinds: offline, no such data set, part or split
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise CustomDataError(
            f"--data {what}: cannot be loaded ({why}); look at the name, the split (NAME:SPLIT), the part "
            f"(OWNER/NAME/PART), HF_TOKEN and the network, or download it and give its folder"
        ) from None
