"""The rows of one split of a data set: from the hub, from a folder with the hub's files, or from one file.
Example: load("copy/of/HelpSteer2", "train", ("prompt", "response")) reads copy/of/HelpSteer2/train.jsonl.gz."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.files.tables import ENDINGS, from_hub, read_file, read_table

Items = Sequence[Mapping[str, Any]]
_PACKED = ".jsonl.gz"


def load(source: str, split: str, columns: Sequence[str]) -> Items:
    """The rows of `split` (of a single file: all rows); ValueError if they cannot be had or lack a column."""
    path = Path(source)
    packed = path / f"{split}{_PACKED}" if path.is_dir() else path
    if packed.name.endswith(_PACKED) and packed.is_file():
        return _with(columns, source, read_file(packed))
    if path.exists() or path.is_absolute() or path.suffix in (*ENDINGS, ".gz"):
        return read_table(source, split, columns)
    return _with(columns, source, from_hub(source, split))


def _with(columns: Sequence[str], source: str, rows: Items) -> Items:
    if not len(rows):
        raise ValueError(f"{source}: no rows")
    missing = [column for column in columns if column not in rows[0]]
    if missing:
        raise ValueError(f"{source}: lacks the columns {', '.join(missing)}; it has {', '.join(rows[0])}")
    return rows
