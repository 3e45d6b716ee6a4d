"""The results of a finished run: summary.json, the model cards, and the closing lines."""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.evaluate import RESULTS
from recipes.common.run_dir import RunDir, publish, read_json, read_metrics, write_json
from recipes.data.datafiles import DataFiles
from recipes.run.build_stages import stages
from recipes.run.model_card import write_cards
from recipes.run.run_stage import Stage
from recipes.run.spent import spent, tokens
from recipes.run.stages import OWN_TEXTS, last_step
from recipes.settings.early_stopping import ended
from recipes.settings.experiment import Experiment
from recipes.settings.trackers import TRACKER_FILES
from recipes.verl_plugin.environment import CPU


@dataclass(frozen=True)
class Validations:
    """Accuracies of a run as (step, share of correct answers); None if nothing was validated on problems."""

    before: float | None
    last: tuple[int, float] | None
    best: tuple[int, float] | None
    """Of the validations after the start, whose weights exist."""
    count: int


MEASURING = "measuring"
"""Key in summary.json while a measurement is still pending: its folder."""


def is_summarised(run: RunDir) -> bool:
    """Whether summary.json is final."""
    found = read_json(run.summary)
    return bool(found) and MEASURING not in found


def finish(experiment: Experiment, run: RunDir, files: DataFiles, given: Mapping[str, Any] | None) -> None:
    """Write summary.json and the model cards, and print where everything is and what was gained."""
    summary = write_results(experiment, run, files, given)
    print("\n".join(_lines(experiment, run, files, validations(run), summary)), flush=True)


def write_results(
    experiment: Experiment, run: RunDir, files: DataFiles, given: Mapping[str, Any] | None, *, measuring: str = ""
) -> dict[str, Any]:
    """Write summary.json and the model cards of a trained run; returns the summary.

    Args:
        measuring: the folder of a pending measurement, without which the run is not finished.
    """
    if experiment.stages == ("sft",):
        publish(run.hf / "last", run.hf / "best")
    found = validations(run)
    cost = spent(run)
    summary = {
        "algo": experiment.algorithm.name,
        "data": experiment.data,
        "model": experiment.model,
        "experiment_hash": experiment.hash,
        "seed": experiment.seed,
        "val/acc before": found.before,
        "val/acc last": found.last[1] if found.last else None,
        "val/acc best": found.best[1] if found.best else None,
        "best step": read_json(run.hf / "best.json").get("step"),
        "last step": max((row["step"] for row in read_metrics(run.metrics)), default=None),
        **held_out(experiment, run),
        "seconds": round(cost.seconds, 1),
        "peak_memory_bytes": cost.peak_memory_bytes,
        **tokens(run),
        **({MEASURING: measuring} if measuring else {}),
    }
    write_json(run.summary, summary)
    write_cards(experiment, run, files, summary, given or {})
    return summary


def validations(run: RunDir) -> Validations:
    """The results of a run's validations; `before` is the base model's evaluation if there was one."""
    rows = read_metrics(run.metrics)
    points = sorted((row["step"], row["data"]["val/acc"]) for row in rows if "val/acc" in row["data"])
    best = max((point for point in points if point[0] > 0), key=lambda point: point[1], default=None)
    before = points[0][1] if points else None
    base = run.path / "eval/base/results.json"
    if base.exists():
        before = (read_json(base).get("mean_over_sources_unweighted") or {}).get("accuracy", before)
    return Validations(before, points[-1] if points else None, best, len(points))


HELD_OUT = {"val/loss": "loss", "val/pairs/accuracy": "pairs in order", "val/rewards/accuracy": "rewards in order"}
"""What training on answers measures on held-out answers: name in metrics.jsonl -> label."""


def held_out(experiment: Experiment, run: RunDir) -> dict[str, float]:
    """First and last values of HELD_OUT for summary.json; empty for training on problems."""
    rows = read_metrics(run.metrics) if experiment.stages == ("alignment",) else []
    found: dict[str, float] = {}
    for name in HELD_OUT:
        if values := [row["data"][name] for row in rows if name in row["data"]]:
            found |= {f"{name} before": values[0], f"{name} last": values[-1]}
    return found


def _lines(
    experiment: Experiment, run: RunDir, files: DataFiles, found: Validations, summary: Mapping[str, Any]
) -> list[str]:
    also = {"best step": run.hf / "best", "adapter": run.hf / "adapter"}
    if not (run.hf / "best.json").exists():  # then best is a copy of last
        del also["best step"]
    named = ", ".join(f"{name}: {short(path)}" for name, path in also.items() if path.exists())
    lines = [f"\nweights        {short(run.hf / 'last')}" + (f"  ({named})" if named else "")]
    kept = [run.metrics, *(run.path / name for name in TRACKER_FILES if (run.path / name).exists())]
    lines.append(f"metrics        {', '.join(map(short, kept))}")
    evaluated = run.path / "eval" if any(run.path.glob("eval/*/items.jsonl")) else None
    answers_in = run.validation if run.validation.exists() else evaluated
    lines += [] if answers_in is None else [f"answers        {short(answers_in)}"]
    if found.last and found.best and found.before is not None:
        problems, how = _asked(experiment, run, files, found.last[0])
        highest = f"the highest of {found.count} validations on them is {found.best[1]:.1%} at step {found.best[0]}"
        if found.best[1] <= found.before:
            highest = f"no later validation was higher; the best is {found.best[1]:.1%}"
        gain = f"{found.before:.1%} before, {found.last[1]:.1%} after"
        lines.append(f"accuracy       {gain}  ({problems} problems, {how}; {highest})")
    measured = {label: name for name, label in HELD_OUT.items() if f"{name} last" in summary}
    if measured:
        both = ((label, summary[f"{name} before"], summary[f"{name} last"]) for label, name in measured.items())
        text = ", ".join(f"{label} {first:.3f} before, {last:.3f} after" for label, first, last in both)
        lines.append(f"held out       {text}")
    for stage in stages(experiment, run, files) if experiment.early_stopping else ():
        lines += _stopped(stage, experiment.early_stopping, alone=len(experiment.stages) == 1)
    lines += _forgetting(run)
    shares = [row["data"].get("uft/groups_without_variance") for row in read_metrics(run.metrics)]
    if (known := [share for share in shares if share is not None]) and min(known) == 1:
        bonus = "; the entropy bonus still changed the weights (--entropy_coef 0 disables it)"
        lines.append(
            "note           no two answers to a problem ever differed in reward, so rewards taught nothing"
            + bonus * (experiment.entropy_coef > 0)
        )
    lines.append(f"time           {summary['seconds'] / 60:.1f} min")
    return [*lines, f"serve          {serve_command(experiment, run)}"]


def _stopped(stage: Stage, patience: int, *, alone: bool) -> list[str]:
    """Why --early_stopping ended a stage, if it did."""
    by, last = stage.validated, last_step(stage.folder, 0)
    if by is None or last >= stage.total_steps:
        return []
    rows = [row for row in read_metrics(stage.folder.metrics) if by.metric in row["data"]]
    if not ended(rows, patience, by):
        return []
    value, step = by.best((row["data"][by.metric], row["step"]) for row in rows)
    what = "" if alone else f"{stage.title}, "
    better = "higher" if by.more_is_better else "lower"
    which = "the last validation had no" if patience == 1 else f"none of the last {patience} validations had a"
    return [
        f"stopped        {what}at step {last} of {stage.total_steps}: {which} {better} {by.metric} than the previous "
        f"best, {value:.4g} at step {step} (--early_stopping)"
    ]


def _asked(experiment: Experiment, run: RunDir, files: DataFiles, step: int) -> tuple[int, str]:
    """(number of problems in the last validation, how they were answered)."""
    problems = files.n_test if experiment.val_size < 0 else min(experiment.val_size, files.n_test)
    answers = run.validation / f"{step}.jsonl"
    if answers.exists():
        # verl skips problems with long prompts.
        problems = len(answers.read_bytes().splitlines()) // max(1, experiment.val_samples)
    how = f"{experiment.val_samples} sampled answers each" if experiment.val_samples else "greedy"
    return problems, how


def _forgetting(run: RunDir) -> list[str]:
    forgot = read_json(run.path / OWN_TEXTS / RESULTS)
    if not {"written", "nats", "texts"} <= forgot.keys():
        return []
    texts = "it wrote itself" if forgot["written"] else "like those it was pre-trained on"
    return [f"forgetting     {forgot['nats']:+.3f} nats per token on {forgot['texts']} texts of the base, {texts}"]


def serve_command(experiment: Experiment, run: RunDir) -> str:
    """The command that serves the trained weights at an OpenAI-compatible endpoint on this machine."""
    words = [short(Path(sys.executable).with_name("vllm")), "serve", short(run.hf / "last")]
    words += ["--dtype", experiment.dtype]
    if experiment.device != "cpu":
        return shlex.join(words)
    # As in training: compiling takes vLLM longer than most chats, and an engine in its own process busy-waits for its
    # worker on the cores that the worker needs.
    words += ["--enforce-eager", "--distributed-executor-backend", "uni"]
    variables = " ".join(f"{name}={CPU[name]}" for name in ("VLLM_CPU_KVCACHE_SPACE", "TORCHDYNAMO_DISABLE"))
    return f"{variables} {shlex.join(words)}"


def short(path: Path) -> str:
    """A path relative to the working folder, if it is inside."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
