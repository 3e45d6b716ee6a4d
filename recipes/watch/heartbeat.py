"""Reads a run's heartbeat (progress.json) and its growing log.txt.
The watchdog reads both while the trainer writes them, so nothing here assumes that a file is complete."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HEARTBEAT = "progress.json"
LOG = "log.txt"
#: Marks a log line that the console shows at once.
NOTICE = "note to the reader: "
#: Bytes kept from the end of a log for a diagnosis.
TAIL_BYTES = 400_000

#: The phases a trainer may report, as shown after "while".
PHASES: Mapping[str, str] = {
    "starting": "starting",
    "validating": "validating",
    "rollout": "generating answers",
    "reward": "scoring answers",
    "old_log_prob": "computing log-probabilities",
    "ref_log_prob": "computing reference log-probabilities",
    "update": "updating the policy",
    "saving": "saving a checkpoint",
    "finished": "shutting down",
    "failed": "shutting down after a failure",
}


@dataclass(frozen=True)
class Heartbeat:
    """One state of a run. `step` counts finished optimiser steps; `time` is in epoch seconds, by the trainer's clock.

    `pid` is the process of the training loop (0: unknown), `faulthandler` whether it dumps its stacks on SIGUSR1.
    """

    step: int
    total_steps: int
    phase: str
    time: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    pid: int = 0
    faulthandler: bool = False
    test_freq: int = 0
    """Steps between validations; 0: unknown, or none."""


def read_heartbeat(run_dir: Path) -> Heartbeat | None:
    """The current state of the run, or None if there is none that can be read."""
    try:
        raw = json.loads((run_dir / HEARTBEAT).read_bytes())
        return Heartbeat(
            step=int(raw["step"]),
            total_steps=int(raw["total_steps"]),
            phase=str(raw["phase"]),
            time=float(raw["time"]),
            metrics={str(name): float(value) for name, value in raw.get("metrics", {}).items()},
            pid=int(raw.get("pid", 0)),
            faulthandler=raw.get("faulthandler") is True,
            test_freq=int(raw.get("test_freq", 0)),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


class LogFollower:
    """Reads what is appended to a text file after following began, each line once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0
        self._partial = b""
        self._tail = b""
        self._since_mark = b""

    def new_lines(self) -> list[str]:
        """The complete lines written since the last call; a line still being written waits for its end."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                fresh = file.read()
        except OSError:
            return []
        if not fresh:
            return []
        self._offset += len(fresh)
        self._tail = (self._tail + fresh)[-TAIL_BYTES:]
        self._since_mark = (self._since_mark + fresh)[:TAIL_BYTES]
        complete, end, rest = (self._partial + fresh).rpartition(b"\n")
        # Progress bars rewrite one line for hours with carriage returns: do not collect them.
        self._partial = rest[-TAIL_BYTES:]
        return (complete + end).decode("utf-8", "replace").splitlines()

    def mark(self) -> None:
        """Make `since_mark` begin here."""
        self._since_mark = b""

    @property
    def tail(self) -> str:
        """The end of what was read."""
        return self._tail.decode("utf-8", "replace")

    @property
    def since_mark(self) -> str:
        """What was read since the mark (the first TAIL_BYTES of it)."""
        return self._since_mark.decode("utf-8", "replace")
