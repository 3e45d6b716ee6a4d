"""What a training process writes while it runs: the heartbeat and the metrics. Any rank 0 of any stage uses this."""

import os
import time
from pathlib import Path
from typing import Any

from recipes.run_dir import RunDir, append_metrics, replace_metrics, trim_metrics, write_json

# Shown beside the progress bar, in this order, when a step has them.
HEADLINE = ("problems", "of", "val/acc", "critic/score/mean", "train/loss", "val/loss", "actor/pg_loss")


class Records:
    """Writes progress.json (heartbeat: phase, step, headline numbers) and metrics.jsonl of one run folder."""

    def __init__(self, folder: Path, total_steps: int) -> None:
        self._run = RunDir(folder)
        self._total_steps = total_steps
        self._step = 0
        self._headline: dict[str, float] = {}

    def resume_at(self, step: int) -> None:
        """Forget the lines of steps after the checkpoint a run continues from; -1 forgets all."""
        self._step = max(step, 0)
        trim_metrics(self._run.metrics, step)

    def phase(self, name: str, step: int | None = None) -> None:
        """Say what the run is doing now: starting, validating, rollout, update, saving, finished ..."""
        if step is not None:
            self._step = step
        write_json(
            self._run.progress,
            {
                "step": self._step,
                "total_steps": self._total_steps,
                "phase": name,
                "time": time.time(),
                "pid": os.getpid(),
                "faulthandler": True,
                "metrics": self._headline,
            },
        )

    def log(self, step: int, data: dict[str, Any], *, again: bool = False) -> None:
        """Add a line of metrics; `again` where a killed process may have written the same before."""
        self._remember(data)
        (replace_metrics if again else append_metrics)(self._run.metrics, step, data)

    def headline(self, data: dict[str, Any]) -> None:
        """Numbers to show beside the progress bar from the next phase on; they are not logged."""
        self._remember(data)

    def _remember(self, data: dict[str, Any]) -> None:
        for name in HEADLINE:
            if name in data:
                self._headline[name] = float(data[name])
