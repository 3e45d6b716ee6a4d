"""What an algorithm remembers of a run's prompts (`remember` in recipes/algorithms/base.py), kept in checkpoints."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recipes.algorithms.base import Algorithm, Group, forget

MEMORY = "memory.json"
"""Its file in a checkpoint."""


def recalled(checkpoint: str | Path | None) -> dict[str, Any]:
    """The memory of the checkpoint that a run resumes from: `past` by prompt, and `common`; empty without one."""
    file = Path(checkpoint) / MEMORY if checkpoint else None
    stored = json.loads(file.read_text(encoding="utf-8")) if file is not None and file.exists() else {}
    return {"past": {}, "common": None, **stored}


def update(memory: dict[str, Any], algorithm: Algorithm, groups: Sequence[Group], s: Any) -> list[str]:
    """Let the algorithm update its memory, in place; returns the keys of prompts whose solutions are due."""
    due: list[str] = []
    if algorithm.remember is forget:
        return due
    past = memory["past"]
    for group in sorted(groups, key=lambda group: group.key):
        kept, memory["common"], now = algorithm.remember(group, past.get(group.key), memory["common"], s)
        if kept is None:
            past.pop(group.key, None)
        else:
            # As stored in a checkpoint, so that a resumed run sees the same.
            past[group.key] = json.loads(json.dumps(kept))
        due += now
    memory["common"] = json.loads(json.dumps(memory["common"]))
    return due
