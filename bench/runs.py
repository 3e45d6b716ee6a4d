"""Real training runs to measure: verl's own GRPO, our rft and uft on the same model, data, lengths and settings.

Every sequence has exactly the same number of tokens (the engine ignores the end token), so that only the algorithm
differs: uft's hints take the place of generated tokens.
"""

import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from bench.inputs import ROOT, problems
from eval.reporting.tables import PHASES
from recipes.common.run_dir import RunDir, read_metrics
from recipes.flags.resolve import build_experiment
from recipes.settings.profiles import PROFILES
from recipes.verl_plugin.environment import environment
from recipes.verl_plugin.verl_config import rl_config
from recipes.watch.processes import end_processes, marked_environment, memory_of, processes_of

# In tokens; Qwen2's tokenizer splits the text more finely than the embedded one (566 tokens versus 9).
PROMPT = 768
# Steps that warm caches and compilers; the last step, which saves and validates, is not measured either.
WARM_UP = 2


@dataclass(frozen=True)
class Size:
    """The size of a step."""

    batch: int
    """Prompts."""

    n_rollout: int
    """Rollouts per prompt."""

    response: int
    """Tokens of every response, hint and generation together."""

    steps: int
    """Optimiser steps; the first WARM_UP and the last are not measured."""


@dataclass(frozen=True)
class Variant:
    """One way to train."""

    name: str
    algo: str
    """An algorithm of ours, or "verl" for verl's own trainer."""

    hint_fraction: float = 0.0
    """Length of the solutions as a share of the response; on average over a run, uft gives half of it."""


VARIANTS = (
    Variant("verl GRPO", "verl"),
    Variant("rft", "rft"),
    Variant("uft, short hints", "uft", 0.4),
    Variant("uft, long hints", "uft", 0.9),
)


@dataclass(frozen=True)
class Measured:
    """Measurements of one run. Seconds are medians over its measured steps."""

    variant: str
    size: Size
    seconds: dict[str, float]
    """By phase."""

    steps: list[float]
    """Seconds of each measured step."""

    cpu_seconds: float | None
    """CPU time of all its processes per measured step; less sensitive to other programs than wall-clock time."""

    start_seconds: float
    """From the start of the process to the end of the first validation."""

    first_step_seconds: float
    """From the start of the process to the end of the first step."""

    peak_host_gib: float
    """Peak main memory of all processes of the run together."""

    peak_training_gib: float
    """Peak memory of the training process: allocated on the device, or resident on the CPU."""

    tokens: float
    """Tokens trained on per step: prompts and responses of all rollouts."""

    hint_tokens: float
    """Mean hint tokens per rollout over the measured steps."""


def measure(variant: Variant, size: Size, *, profile: str, model: Path, folder: Path, limit_s: float) -> Measured:
    """Train once and measure. Raises RuntimeError with the end of the log if the run fails."""
    hint_tokens = int(variant.hint_fraction * size.response)
    data = problems(folder.parent / f"data-{hint_tokens}", n_train=max(64, size.batch), hint_tokens=hint_tokens or 20)
    flags = _flags(variant, size, model, data, hint_tokens)
    folder.mkdir(parents=True, exist_ok=True)
    if variant.algo == "verl":
        command, env, metrics = _stock(flags, profile, folder, size)
    else:
        given = [text for name, value in flags.items() for text in (f"--{name}", str(value))]
        command = [sys.executable, str(ROOT / "run.py"), "--profile", profile, "--out", str(folder), *given]
        command += ["--stall_minutes", "15", "--", *_overrides(size)]
        env, metrics = {}, RunDir(folder).metrics
    watched = _watch(command, env, folder, metrics, limit_s)
    return _measured(variant, size, metrics, watched)


def _flags(variant: Variant, size: Size, model: Path, data: Path, hint_tokens: int) -> dict[str, Any]:
    return {
        "algo": "rft" if variant.algo == "verl" else variant.algo,
        "data": str(data),
        "model": str(model),
        "T": size.steps,
        "batch_size": size.batch,
        "mini_batch_size": size.batch,
        "n_rollout": size.n_rollout,
        "max_prompt_length": PROMPT,
        "max_response_length": size.response,
        "test_freq": size.steps,
        "save_freq": size.steps,
        "log_rollouts": 0,
        # Random weights give no readable answers; that is not a failure here.
        "max_parse_fail_rate": 1.0,
        **({"T_hint": size.steps, "max_hint_length": max(16, hint_tokens)} if variant.algo == "uft" else {}),
    }


def _overrides(size: Size) -> list[str]:
    return [
        "actor_rollout_ref.rollout.ignore_eos=True",
        f"data.max_response_length={size.response}",
        f"actor_rollout_ref.rollout.max_model_len={PROMPT + size.response}",
    ]


def _stock(flags: dict[str, Any], profile: str, folder: Path, size: Size) -> tuple[list[str], dict[str, str], Path]:
    """Command, environment and metrics file of verl's own trainer with the settings of our rft."""
    experiment = build_experiment(flags, PROFILES[profile])
    values = rl_config(
        experiment,
        run=RunDir(folder),
        model=flags["model"],
        train_file=Path(flags["data"]) / "train.parquet",
        test_file=Path(flags["data"]) / "test.parquet",
        resume_from=None,
    )
    values["algorithm"]["adv_estimator"] = "grpo"
    agent = values["actor_rollout_ref"]["rollout"]["agent"]
    values["actor_rollout_ref"]["rollout"]["agent"] = {"num_workers": agent["num_workers"]}
    sampler = {"path": "pkg://recipes.verl_plugin.stock_main", "name": "QuickReplayBuffer"}
    values["trainer"] |= {"logger": ["file"], "v1": {"sampler": {"custom_sampler": sampler}}}
    (folder / "verl.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    metrics = folder / "metrics.jsonl"
    command = [sys.executable, "-m", "recipes.verl_plugin.stock_main", str(folder), *_overrides(size)]
    env = {
        **environment(experiment, RunDir(folder)),
        **marked_environment(folder),
        "VERL_FILE_LOGGER_PATH": str(metrics),
    }
    return command, env, metrics


@dataclass
class _Watched:
    """What is observed from outside: the time and the processes' CPU seconds at the end of each step, and memory."""

    started: float
    at: dict[int, tuple[float, float]] = field(default_factory=dict)
    peak_bytes: int = 0


def _watch(command: list[str], env: dict[str, str], folder: Path, metrics: Path, limit_s: float) -> _Watched:
    """Run a command to its end, recording wall-clock and CPU time of all its processes after every step."""
    watched = _Watched(time.time())
    with (folder / "bench.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **env}, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )
        next_memory = 0.0
        try:
            while process.poll() is None:
                time.sleep(0.25)
                step = max(_rows(metrics), default=None)
                if step is not None and step not in watched.at:
                    watched.at[step] = time.time(), _cpu_seconds(processes_of(folder, {process.pid}))
                if time.time() > next_memory:
                    next_memory = time.time() + 5
                    watched.peak_bytes = max(watched.peak_bytes, memory_of(processes_of(folder, {process.pid})))
                if time.time() - watched.started > limit_s:
                    raise RuntimeError(f"{folder.name} took longer than {limit_s:.0f} s")
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
            end_processes(processes_of(folder), 5)
    if process.returncode:
        tail = "\n".join((folder / "bench.log").read_text(errors="replace").splitlines()[-30:])
        raise RuntimeError(f"{folder.name} failed with exit code {process.returncode}:\n{tail}")
    return watched


def _rows(metrics: Path) -> dict[int, dict[str, float]]:
    rows: dict[int, dict[str, float]] = defaultdict(dict)
    for row in read_metrics(metrics):
        rows[row["step"]].update(row["data"])
    return rows


def _cpu_seconds(members: list[psutil.Process]) -> float:
    total = 0.0
    for member in members:
        try:
            times = member.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total


def _measured(variant: Variant, size: Size, metrics: Path, watched: _Watched) -> Measured:
    rows = _rows(metrics)
    kept = [rows[step] for step in range(WARM_UP + 1, size.steps)]
    seconds = {
        phase: statistics.median(row[f"timing_s/{phase}"] for row in kept)
        for phase in PHASES
        if all(f"timing_s/{phase}" in row for row in kept)
    }
    marks = watched.at
    cpu = None
    if WARM_UP in marks and size.steps - 1 in marks:
        cpu = (marks[size.steps - 1][1] - marks[WARM_UP][1]) / (size.steps - 1 - WARM_UP)
    return Measured(
        variant=variant.name,
        size=size,
        seconds=seconds,
        steps=[row["timing_s/step"] for row in kept],
        cpu_seconds=cpu,
        start_seconds=marks[0][0] - watched.started if 0 in marks else float("nan"),
        first_step_seconds=marks[1][0] - watched.started if 1 in marks else float("nan"),
        peak_host_gib=watched.peak_bytes / 2**30,
        peak_training_gib=max(row["actor/perf/max_memory_allocated_gb"] for row in kept),
        tokens=statistics.median(row["perf/total_num_tokens"] for row in kept),
        hint_tokens=statistics.fmean(row.get("uft/hint_tokens", 0.0) for row in kept),
    )
