"""Texts like those a base was trained on, stored next to its weights: eval/own_texts.py measures forgetting on them."""

import json
from collections.abc import Iterable
from pathlib import Path

FILE = "own_texts.jsonl"
COUNT = 128


def write_own_texts(folder: Path, texts: Iterable[tuple[str, str]]) -> None:
    """One line per text, {"prompt", "completion"}; the completion has no end token."""
    lines = [json.dumps({"prompt": asked, "completion": answer}) + "\n" for asked, answer in texts]
    (folder / FILE).write_text("".join(lines), encoding="utf-8")
