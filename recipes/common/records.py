"""The heartbeat and the metrics that a training process writes; used by rank 0 of every stage."""

import os
import time
from pathlib import Path
from typing import Any

from recipes.common.run_dir import RunDir, append_metrics, replace_metrics, trim_metrics, write_json

# What the console may show (recipes/watch/shown.py) of a step and of the last validation, and the latter's step.
OF_STEP = (
    *("problems", "texts", "of", "uft/score/l=0", "uft/hint_frac", "critic/score/mean", "train/loss"),
    "rewards/accuracy",
)
OF_VALIDATION = ("val/acc", "val/loss", "val/rewards/accuracy")
VALIDATED = "val/step"


class Records:
    """Writes progress.json (heartbeat: phase, step, headline numbers) and metrics.jsonl of one run folder."""

    def __init__(self, folder: Path, total_steps: int, test_freq: int = 0) -> None:
        """`test_freq`: steps between validations; 0 for none."""
        self._run = RunDir(folder)
        self._total_steps, self._test_freq = total_steps, test_freq
        self._step = 0
        self._headline: dict[str, float] = {}
        self._validation: dict[str, float] = {}

    def resume_at(self, step: int) -> None:
        """Drop the metrics of steps after the checkpoint that a run resumes from; -1 drops all."""
        self._step = max(step, 0)
        trim_metrics(self._run.metrics, step)

    def phase(self, name: str, step: int | None = None) -> None:
        """Record what the run is doing now: starting, validating, rollout, update, saving, finished ..."""
        if step is not None:
            self._step = step
        write_json(
            self._run.progress,
            {
                "step": self._step,
                "total_steps": self._total_steps,
                "test_freq": self._test_freq,
                "phase": name,
                "time": time.time(),
                "pid": os.getpid(),
                "faulthandler": True,
                "metrics": {**self._headline, **self._validation},
            },
        )

    def log(self, step: int, data: dict[str, Any], *, again: bool = False) -> None:
        """Add a line of metrics; `again` if a killed process may have written it already."""
        found = {name: float(data[name]) for name in OF_VALIDATION if name in data}
        if found:
            self._validation = {**found, VALIDATED: float(step)}
        # Of this step alone, not of earlier ones.
        self._headline = {name: float(data[name]) for name in OF_STEP if name in data}
        (replace_metrics if again else append_metrics)(self._run.metrics, step, data)

    def headline(self, data: dict[str, Any]) -> None:
        """Set the numbers shown beside the progress bar from the next phase on; not logged."""
        self._headline = {name: float(data[name]) for name in OF_STEP if name in data}
