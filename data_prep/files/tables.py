"""Reads the rows of a dataset from the hub or from local files: parquet, jsonl, json or csv, by split or by name.
Example: read_table("copy/of/MATH", "test", ("problem", "solution")) reads copy/of/MATH/test.parquet or test.jsonl."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_prep.asking_hub import asking_hub
from data_prep.files.parquet import read_parquet

ENDINGS = (".parquet", ".jsonl", ".jsonl.gz", ".json", ".csv")

_SPLITS = ("train", "test", "validation", "valid", "val", "dev", "eval")

Items = Sequence[Mapping[str, Any]]


def read_table(source: str, split: str, columns: Sequence[str], config: str | None = None) -> Items:
    """All rows of one split; ValueError if there are none or a column is missing.

    source: a file (its rows, whatever the split), a folder with a file per split (test.jsonl, test-00000-of-1.parquet,
    also in a folder data/ or test/; files that name no split are for training), or the name of a hub dataset (`config`
    selects one of its parts).
    """
    path = Path(source)
    rows: Items
    if path.is_file():
        rows = read_file(path)
    elif path.is_dir():
        found = _files_of(split, path)
        if not found:
            raise ValueError(f"{source}: no {split}.parquet, .jsonl, .json or .csv in this folder")
        rows = [row for file in found for row in read_file(file)]
    elif _is_data(path) or path.is_absolute():
        raise ValueError(f"{source}: no such file or folder")
    else:
        rows = _from_hub(source, split, config)
    if not len(rows):
        raise ValueError(f"{source}: no rows in split {split}")
    missing = [column for column in columns if column not in rows[0]]
    if missing:
        raise ValueError(f"{source}: lacks the columns {', '.join(missing)}; it has {', '.join(rows[0])}")
    return rows


def _files_of(split: str, folder: Path) -> list[Path]:
    """The files of a split, found as by the hub's client: files that name no split are for training."""

    def is_of(name: str, file: Path) -> bool:
        stem = file.name.partition(".")[0]
        return stem == name or stem.startswith(f"{name}-") or file.relative_to(folder).parts[0] == name

    # One of several files with the same content, a compressed copy last.
    files = {file.parent / file.name.partition(".")[0]: file for file in sorted(folder.rglob("*")) if _is_data(file)}
    found = [file for file in files.values() if is_of(split, file)]
    if found or split != "train":
        return found
    return [file for file in files.values() if not any(is_of(name, file) for name in _SPLITS)]


def _is_data(file: Path) -> bool:
    return file.name.endswith(ENDINGS)


def _from_hub(name: str, split: str, config: str | None) -> Any:
    """One split of a data set on the hub, row by row from its file; ValueError if it cannot be loaded."""
    from datasets import load_dataset  # takes seconds to import, and only this function needs it

    try:
        with asking_hub(f"data set {name}"):
            return load_dataset(name, config, split=split)
    except Exception as error:  # of many kinds: offline, no such dataset, no such split
        raise ValueError(
            f"cannot load {name} ({config or 'default'}, {split}) from the hub: {error}; there is no such file or "
            f"folder here either: download it elsewhere and name the folder or file (--data_path of run.py)"
        ) from error


def read_file(path: Path) -> list[dict[str, Any]]:
    """The rows of one parquet, jsonl, json (a list) or csv file; ValueError names file and line of an error."""
    if not _is_data(path):
        raise ValueError(f"{path}: cannot read {path.suffix or 'such'} files; use {', '.join(ENDINGS)}")
    if path.suffix == ".parquet":
        try:
            rows: list[dict[str, Any]] = read_parquet(path).to_pylist()
        except pa.ArrowInvalid as error:
            raise ValueError(f"{path}: not a parquet file ({error})") from None
        return rows
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            text = file.read()
    except (UnicodeDecodeError, EOFError, OSError) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from None
    if path.suffix == ".csv":
        return [dict(row) for row in csv.DictReader(text.splitlines(keepends=True))]
    if path.suffix == ".json":
        listed = _json(text, str(path))
        if not isinstance(listed, list):
            raise ValueError(f"{path}: must be a JSON list of rows")
        values = [(f"{path}, row {number}", value) for number, value in enumerate(listed)]
    else:
        lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        values = [(f"{path}, line {number}", _json(line, f"{path}, line {number}")) for number, line in lines]
    for where, value in values:
        if not isinstance(value, dict):
            raise ValueError(f"{where}: must be a JSON object, got {value!r:.80}")
    return [value for _, value in values]


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON ({str(error).partition(';')[0]})") from None
