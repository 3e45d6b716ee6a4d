"""What a run has cost over all its legs: seconds, peak memory, tokens. A leg whose command was killed counts too."""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipes.common.run_dir import RunDir, read_json, read_metrics, write_json
from recipes.watch.heartbeat import HEARTBEAT, LOG

SPENT = "spent.json"
UNDER_WAY = "under_way.json"
"""In a run's folder while one of its processes runs: since when, and in which folder it leaves signs of life."""

_GENERATED = "uft/generated"
_TRAINED = ("perf/total_num_tokens", "train/global_tokens", "train/tokens")
"""Tokens of a step by verl's reinforcement, verl's SFT and TRL."""


@dataclass(frozen=True)
class Spent:
    """Seconds and peak memory (bytes) of all legs so far; None where no process was watched yet."""

    seconds: float = 0.0
    peak_memory_bytes: int | None = None


def begin(run: RunDir, folder: Path) -> None:
    """Note that a process of the run begins, whose records go into `folder`."""
    write_json(run.path / UNDER_WAY, {"time": time.time(), "folder": str(folder)})


def count(run: RunDir, seconds: float, peak_memory_bytes: int) -> None:
    """Add a process that has ended to the run's legs."""
    before = spent(run)
    peak = max(before.peak_memory_bytes or 0, peak_memory_bytes)
    # On a full disk the outcome is what people need to hear of.
    with suppress(OSError):
        write_json(run.path / SPENT, {"seconds": before.seconds + seconds, "peak_memory_bytes": peak})
    (run.path / UNDER_WAY).unlink(missing_ok=True)


def count_killed(run: RunDir) -> None:
    """Add the leg of a command that was killed and could not do so itself: from its start to its last sign of life."""
    file = run.path / UNDER_WAY
    if not file.exists():
        return
    left = read_json(file)
    began = number if isinstance(number := left.get("time"), int | float) else 0.0
    signs = [Path(str(left.get("folder", ""))) / name for name in (HEARTBEAT, LOG)] if began else []
    last = max((sign.stat().st_mtime for sign in signs if sign.exists()), default=began)
    count(run, max(0.0, last - began), 0)


def spent(run: RunDir) -> Spent:
    """All legs that were counted so far."""
    for file in (run.path / SPENT, run.summary):
        found = read_json(file)
        seconds, peak = found.get("seconds"), found.get("peak_memory_bytes")
        if isinstance(seconds, int | float):
            return Spent(seconds, peak if isinstance(peak, int) else None)
    return Spent()


def tokens(run: RunDir) -> dict[str, int]:
    """Tokens generated in rollouts and tokens trained on (prompts included), over the steps of all stages of a run.

    A step that was made again after a kill counts once: its line in metrics.jsonl has been replaced.
    """
    rows = [row["data"] for folder in (run, RunDir(run.path / "sft")) for row in read_metrics(folder.metrics)]
    return {"tokens generated": _sum(rows, (_GENERATED,)), "tokens trained": _sum(rows, _TRAINED)}


def _sum(rows: list[dict[str, Any]], names: tuple[str, ...]) -> int:
    return int(sum(next((row[name] for name in names if name in row), 0) for row in rows))
