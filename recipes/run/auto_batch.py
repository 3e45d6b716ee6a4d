"""--auto_batch: find the micro-batch that fits. A stage that ran out of GPU memory is retried with a smaller one.

Micro-batches are packed by tokens and their gradients summed, so the effective batch, and with it the training,
stays the same; the new attempt resumes from the last checkpoint.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import yaml

from recipes.common.loopback import side_by_side
from recipes.common.run_dir import RunDir, write_text
from recipes.data.datafiles import DataFiles
from recipes.estimate.kernels import micro_batch_limit
from recipes.run.run_stage import Stage, run_stage
from recipes.run.stages import VERL_FILE, absolute, stage_overrides
from recipes.settings.experiment import Experiment
from recipes.verl_plugin.verl_config import REINFORCEMENT, rl_config
from recipes.watch.causes import cause_in_log
from recipes.watch.heartbeat import LOG, TAIL_BYTES, read_heartbeat
from recipes.watch.supervise import Outcome

ATTEMPTS = 8
LEAST_ROLLOUT_MEMORY = 0.2
_MEMORY_STEP = 0.1
_GENERATING = ("rollout", "validating")


def fitting(experiment: Experiment, run: RunDir, files: DataFiles, stall_minutes: float) -> Experiment:
    """The experiment with a micro-batch for which one update on sequences of maximal length fits in memory.

    On GPUs only, and only for reinforcement stages: there a step starts with minutes of generation, so running out of
    memory afterwards is costly. If the probe fails for another reason, the run itself will show it.
    """
    if experiment.device != "cuda" or "rl" not in experiment.stages or experiment.nnodes > 1:
        return experiment
    folder = RunDir(run.path / "probe")
    folder.path.mkdir(parents=True, exist_ok=True)
    outcome, fitted = run_fitting(
        experiment, lambda e: run_stage(e, probe_stage(e, folder, files), stall_minutes), folder.path
    )
    print(outcome.paragraph, flush=True)
    return fitted


def probe_stage(experiment: Experiment, folder: RunDir, files: DataFiles) -> Stage:
    """One optimiser update on a micro-batch of exactly the maximal number of tokens, on all devices of a node."""

    def prepare(_: Path) -> None:
        values = rl_config(
            experiment,
            run=folder,
            model=absolute(experiment.model),
            train_file=files.train,
            test_file=files.test,
            resume_from=None,
        )
        write_text(folder.path / VERL_FILE, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))

    command = [*side_by_side(experiment.n_gpu), "-m", "recipes.verl_plugin.probe", str(folder.path)]
    command += stage_overrides(experiment).get(REINFORCEMENT, ())
    title = f"probing {micro_batch_limit(experiment)} tokens"
    return Stage(title, folder, command, 1, "loading the model", prepare)


def run_fitting(
    experiment: Experiment, attempt: Callable[[Experiment], Outcome], folder: Path
) -> tuple[Outcome, Experiment]:
    """Run `attempt`; while it runs out of memory and a setting can be lowered, run it again with less.

    Args:
        attempt: runs a stage with these settings to its end, from its newest checkpoint, under the watchdog.
        folder: where the stage writes its log and heartbeat.

    Returns:
        the last outcome, and the settings of that attempt.
    """
    for _ in range(ATTEMPTS):
        begins = _size(folder / LOG)
        outcome = attempt(experiment)
        if outcome.exit_code == 0 or outcome.reason == "interrupted" or not _out_of_memory(folder / LOG, begins):
            break
        beat = read_heartbeat(folder)
        lowered = lower(experiment, beat.phase if beat else "starting")
        if lowered is None:
            print(f"{outcome.paragraph}\n--auto_batch: nothing left to lower; use more devices or --lora_rank 32")
            break
        print(f"{outcome.paragraph}\n--auto_batch: trying again with {difference(experiment, lowered)}", flush=True)
        experiment = lowered
    return outcome, experiment


def lower(experiment: Experiment, phase: str) -> Experiment | None:
    """The experiment with less memory in this phase of a step; None if nothing is left to lower.

    The micro-batch is halved, but not below the longest sequence; at that limit, or if memory ran out during
    generation, the engine's share of the device is lowered by a tenth of the device.
    """
    e = experiment
    longest = e.prompt_length + e.response_length
    used = micro_batch_limit(e)
    if phase not in _GENERATING and used > longest:
        return replace(e, tokens_per_micro_batch=max(longest, used // 2))
    memory = round(e.rollout_memory - _MEMORY_STEP, 3)
    return replace(e, rollout_memory=memory) if memory >= LEAST_ROLLOUT_MEMORY else None


def difference(before: Experiment, after: Experiment) -> str:
    """The flags in which two experiments differ, as typed on a command line."""
    names = ("tokens_per_micro_batch", "rollout_memory")
    return " ".join(
        f"--{name} {getattr(after, name)}" for name in names if getattr(before, name) != getattr(after, name)
    )


def _out_of_memory(log: Path, begins: int) -> bool:
    """Whether the log, from this byte on, shows that a GPU's memory was full."""
    with log.open("rb") as file:
        file.seek(max(begins, _size(log) - TAIL_BYTES))
        cause = cause_in_log(file.read().decode("utf-8", errors="replace"))
    return cause is not None and cause.name == "cuda_oom"


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
