"""What the tests of users' files of answers share: rows of every kind, written to every kind of file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.preference.local import examine
from tests import ROOT

EXAMPLE = ROOT / "examples" / "custom" / "preferences.jsonl"
PAIR = {"prompt": "p", "chosen": "good", "rejected": "bad"}
LABEL = {"prompt": "p", "completion": "c", "label": True}
SCORE = {"prompt": "p", "completion": "c", "score": 0.5}
SCORED_PAIR = {**PAIR, "chosen_score": 0.9, "rejected_score": 0.1}


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]


CHAT = {"messages": turns("a", "b", "c", "d")}


def file_of(folder: Path, rows: Sequence[Any], name: str = "mine.jsonl") -> Path:
    path = folder / name
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    elif name.endswith(".csv"):
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        path.write_text(text.getvalue(), encoding="utf-8")
    elif name.endswith(".json"):
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def understood(path: Path, **scale: float) -> list[tuple[list[dict[str, str]], str, float, str]]:
    found = examine(path, **scale)
    assert not found.problems, found.complaint()
    return [(list(map(dict, r["prompt"])), r["completion"], r["score"], r["feedback"]) for r in found.rows]
