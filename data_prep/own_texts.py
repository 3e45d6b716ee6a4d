"""Texts that a base was made to write, beside its weights: what eval/own_texts.py measures forgetting by."""

import json
from collections.abc import Iterable
from pathlib import Path

FILE = "own_texts.jsonl"
COUNT = 128


def write_own_texts(folder: Path, texts: Iterable[tuple[str, str]]) -> None:
    """One line a text, {"prompt", "completion"}; the completion is without its end token."""
    lines = [json.dumps({"prompt": asked, "completion": answer}) + "\n" for asked, answer in texts]
    (folder / FILE).write_text("".join(lines), encoding="utf-8")
