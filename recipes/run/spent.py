"""What a run has cost over all its sessions, including killed ones: seconds, peak memory, tokens."""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipes.common.run_dir import RunDir, read_json, read_metrics, write_json
from recipes.watch.heartbeat import HEARTBEAT, LOG

SPENT = "spent.json"
UNDER_WAY = "under_way.json"
"""File in a run's folder while one of its processes runs: its start time, and the folder of its heartbeat and log."""

_GENERATED = "uft/generated"
_TRAINED = ("perf/total_num_tokens", "train/global_tokens", "train/tokens")
"""Tokens per step in verl's reinforcement learning, verl's SFT and TRL."""


@dataclass(frozen=True)
class Spent:
    """Seconds and peak memory (bytes) of all sessions so far; None if no process was watched yet."""

    seconds: float = 0.0
    peak_memory_bytes: int | None = None


def begin(run: RunDir, folder: Path) -> None:
    """Record that a process of the run starts, with its records in `folder`."""
    write_json(run.path / UNDER_WAY, {"time": time.time(), "folder": str(folder)})


def count(run: RunDir, seconds: float, peak_memory_bytes: int) -> None:
    """Add a process that has ended to the run's cost."""
    before = spent(run)
    peak = max(before.peak_memory_bytes or 0, peak_memory_bytes)
    # On a full disk the outcome must still be reported.
    with suppress(OSError):
        write_json(run.path / SPENT, {"seconds": before.seconds + seconds, "peak_memory_bytes": peak})
    (run.path / UNDER_WAY).unlink(missing_ok=True)


def count_killed(run: RunDir) -> None:
    """Add the session of a killed command, from its start to the last write of its heartbeat or log."""
    file = run.path / UNDER_WAY
    if not file.exists():
        return
    left = read_json(file)
    began = number if isinstance(number := left.get("time"), int | float) else 0.0
    signs = [Path(str(left.get("folder", ""))) / name for name in (HEARTBEAT, LOG)] if began else []
    last = max((sign.stat().st_mtime for sign in signs if sign.exists()), default=began)
    count(run, max(0.0, last - began), 0)


def spent(run: RunDir) -> Spent:
    """The cost of all sessions counted so far."""
    for file in (run.path / SPENT, run.summary):
        found = read_json(file)
        seconds, peak = found.get("seconds"), found.get("peak_memory_bytes")
        if isinstance(seconds, int | float):
            return Spent(seconds, peak if isinstance(peak, int) else None)
    return Spent()


def tokens(run: RunDir) -> dict[str, int]:
    """Tokens generated in rollouts and tokens trained on (including prompts), over the steps of all stages of a run.

    A step repeated after a kill counts once: its line in metrics.jsonl has been replaced.
    """
    rows = [row["data"] for folder in (run, RunDir(run.path / "sft")) for row in read_metrics(folder.metrics)]
    return {"tokens generated": _sum(rows, (_GENERATED,)), "tokens trained": _sum(rows, _TRAINED)}


def _sum(rows: list[dict[str, Any]], names: tuple[str, ...]) -> int:
    return int(sum(next((row[name] for name in names if name in row), 0) for row in rows))
