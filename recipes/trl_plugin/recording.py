"""A TrainerCallback that writes a run's records and decides when to validate and save."""

import atexit
import math
import os
import re
import resource
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from recipes.common.records import Records
from recipes.common.run_dir import RunDir, read_metrics
from recipes.settings.early_stopping import ANSWERS_LOSS, ended
from recipes.settings.trackers import TRACKERS
from recipes.trl_plugin.measure import validation_metrics
from recipes.trl_plugin.plan import TrainingPlan
from recipes.trl_plugin.reference import attach_reference
from recipes.trl_plugin.rows import HeldOut

# The trainer's metric names -> ours.
_NAMES = {"loss": "train/loss", "grad_norm": "train/grad_norm", "learning_rate": "train/lr"}
_PREFIXES = ("train/", "rewards/", "calibration/", "kl_to_ref")


class Recording(TrainerCallback):
    """Heartbeat, metrics.jsonl and the other loggers; only the first process writes."""

    def __init__(self, plan: TrainingPlan, trainer: Any, test: HeldOut, steps: int) -> None:
        self.plan, self.trainer, self.test, self.steps = plan, trainer, test, steps
        self.writes = trainer.accelerator.is_main_process
        self.records = Records(Path(plan.run_dir), steps, plan.test_freq if test.completions else 0)
        self.loggers = _loggers(plan) if self.writes else []
        self.started = time.time()

    def phase(self, name: str, step: int | None = None) -> None:
        """Report what the run is doing now."""
        if self.writes:
            self.records.phase(name, step)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.writes:
            self.records.resume_at(state.global_step)
        if self.plan.alignment.precompute_ref and self.trainer.uses_reference:
            self.phase("ref_log_prob", state.global_step)
            attach_reference(self.trainer, self.plan, self.test)
        if state.global_step == 0:
            self._write(0, self._validate(0))
        self.phase("update", state.global_step)
        self.started = time.time()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        step = state.global_step
        control.should_save = step % self.plan.save_freq == 0 or step == self.steps

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        # Otherwise every checkpoint would contain all log lines of the run.
        state.log_history.clear()
        if "loss" not in logs:
            return
        step = state.global_step
        if not math.isfinite(logs["loss"]):
            raise RuntimeError(f"the loss of step {step} is {logs['loss']}; lower --lr, or check the rows of the data")
        renamed = {_NAMES.get(name, name): value for name, value in logs.items()}
        metrics = {name: value for name, value in renamed.items() if name.startswith(_PREFIXES)}
        metrics["timing_s/step"] = time.time() - self.started
        metrics["perf/peak_memory_bytes"] = peak_memory_bytes()
        # One line per step, written in full before the step's checkpoint, so that a resumed run misses none.
        if step % self.plan.test_freq == 0 or step == self.steps:
            metrics |= self._validate(step)
        self._write(step, metrics)
        if ANSWERS_LOSS.metric in metrics and self.is_over(step):
            # A checkpoint follows, as after the last step.
            control.should_save = control.should_training_stop = True
        self.phase("saving" if control.should_save else "update", step)
        self.started = time.time()

    def is_over(self, step: int) -> bool:
        """Whether early stopping ends the run after this step; the same in every process."""
        if not self.plan.early_stopping:
            return False
        self.trainer.accelerator.wait_for_everyone()
        rows = read_metrics(RunDir(Path(self.plan.run_dir)).metrics)
        return ended(rows, self.plan.early_stopping, ANSWERS_LOSS, step)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.phase("update", state.global_step)
        self.started = time.time()

    def _validate(self, step: int) -> dict[str, float]:
        if not self.test.completions:
            return {}
        self.phase("validating", step)
        started = time.time()
        found = validation_metrics(self.plan, self.test, self.trainer.held_out_scores(self.test))
        return found | {"timing_s/validation": time.time() - started}

    def _write(self, step: int, metrics: dict[str, float]) -> None:
        if self.writes and metrics:
            self.records.log(step, metrics, again=step == 0)
            for log in self.loggers:
                log(step, metrics)


def peak_memory_bytes() -> int:
    """This process's peak memory so far, in bytes: GPU memory if it uses a GPU, else main memory."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _loggers(plan: TrainingPlan) -> list[Any]:
    """A function (step, metrics) for each of plan.logger."""
    run = RunDir(Path(plan.run_dir))
    found: list[Any] = []
    if "console" in plan.logger:
        found.append(_console)
    if "tensorboard" in plan.logger:
        from torch.utils.tensorboard import SummaryWriter

        resumed_at = int(Path(plan.resume_from).name.rpartition("_")[2]) if plan.resume_from else 0
        writer = SummaryWriter(str(run.path / "tensorboard"), purge_step=resumed_at + 1 if resumed_at else None)

        def tensorboard(step: int, metrics: dict[str, float]) -> None:
            for name, value in metrics.items():
                writer.add_scalar(name, value, step)
            writer.flush()

        found.append(tensorboard)
    return [*found, *(_tracker(name, plan, run) for name in TRACKERS if name in plan.logger)]


def _tracker(name: str, plan: TrainingPlan, run: RunDir) -> Callable[[int, dict[str, float]], None]:
    """A tracker of accelerate; the environment says where its files go (recipes/settings/trackers.py)."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    arguments: dict[str, dict[str, Any]] = {
        "wandb": {"run_name": plan.project, "name": plan.run_name},
        "trackio": {"run_name": plan.project, "name": plan.run_name},
        "swanlab": {
            "run_name": plan.project,
            "experiment_name": plan.run_name,
            "logdir": os.environ.get("SWANLAB_LOG_DIR"),
            "mode": os.environ.get("SWANLAB_MODE"),
        },
        "mlflow": {"experiment_name": plan.project, "run_name": plan.run_name, "logging_dir": str(run.path / "mlflow")},
    }
    tracker = LOGGER_TYPE_TO_CLASS[name](**arguments[name])
    tracker.start()
    tracker.store_init_configuration(
        {key: value for key, value in asdict(plan).items() if isinstance(value, str | int | float)}
        | {key: value for key, value in asdict(plan.alignment).items() if value is not None}
    )
    atexit.register(tracker.finish)

    def log(step: int, metrics: dict[str, float]) -> None:
        logged = {named(metric): value for metric, value in metrics.items()} if name == "mlflow" else metrics
        tracker.log(logged, step=step)

    return log


def named(metric: str) -> str:
    """A metric's name in mlflow, as in verl's stages: mlflow rejects some characters, such as a validation set's @."""
    return re.sub(r"[^/\w.\- :]", "_", metric.replace("@", "_at_"))


def _console(step: int, metrics: dict[str, float]) -> None:
    shown = " ".join(f"{name} {value:.4g}" for name, value in metrics.items() if not name.startswith("perf/"))
    print(f"step {step}: {shown}", flush=True)
