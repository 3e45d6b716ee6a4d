"""The labelled trials of each task against its reward: wrong verdicts, error rates, throughput."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from importlib import resources

from reward_fns import compute_score
from reward_fns.registry import load_verifier
from reward_fns.trials import Trial

VERDICTS = {1.0: "correct", 0.1: "wrong", 0.0: "unreadable"}


@dataclass(frozen=True)
class Report:
    """The result of the labelled trials of one task.

    false_negatives: share of correct answers not rewarded with 1.0. false_positives: share of the others that were.
    failures: one line per misjudged trial. per_second: verdicts on one core, with cold caches.
    """

    task: str
    trials: int
    correct: int
    false_negatives: float
    false_positives: float
    failures: tuple[str, ...]
    per_second: float


def labelled(task: str) -> list[Trial]:
    """The trials of `<task>.jsonl`."""
    text = resources.files("reward_fns.trials").joinpath(f"{task}.jsonl").read_text(encoding="utf-8")
    return [Trial(**json.loads(line)) for line in text.splitlines() if line.strip()]


def judged(task: str, trial: Trial) -> str:
    """The reward's verdict as a label: correct, wrong, unreadable, error or timeout."""
    found = compute_score(task, trial.response, trial.ground_truth, reward=task)
    if found["reward_error"]:
        return "error"
    if found["timeout"]:
        return "timeout"
    return VERDICTS[float(found["score"])]


def agrees(verdict: str, label: str) -> bool:
    """Whether a verdict fits a label. A verifier at its limit gives no reward, which is fine if none was due."""
    if label == "any":
        return verdict != "error"
    if label == "not correct":
        return verdict in ("wrong", "unreadable", "timeout")
    return verdict == label


def selftest(task: str) -> Report:
    """Judges all labelled trials of a task."""
    trials = labelled(task)
    load_verifier(task)
    started = time.perf_counter()
    verdicts = [judged(task, trial) for trial in trials]
    seconds = time.perf_counter() - started
    failures = tuple(
        f"{task}: {verdict} instead of {trial.label}: {trial.why}: {trial.response[-160:]!r}"
        for trial, verdict in zip(trials, verdicts, strict=True)
        if not agrees(verdict, trial.label)
    )
    correct = [v for t, v in zip(trials, verdicts, strict=True) if t.label == "correct"]
    others = [v for t, v in zip(trials, verdicts, strict=True) if t.label in ("wrong", "unreadable", "not correct")]
    return Report(
        task=task,
        trials=len(trials),
        correct=len(correct),
        false_negatives=sum(v != "correct" for v in correct) / len(correct),
        false_positives=sum(v == "correct" for v in others) / len(others),
        failures=failures,
        per_second=len(trials) / seconds,
    )


def describe(reports: list[Report]) -> str:
    """A table, one line per task, and the misjudged trials."""
    lines = ["| task | trials | correct ones | false negatives | false positives | verdicts per second |"]
    lines.append("|---|---|---|---|---|---|")
    for r in reports:
        lines.append(
            f"| {r.task} | {r.trials} | {r.correct} | {r.false_negatives:.1%} | {r.false_positives:.1%} | "
            f"{r.per_second:,.0f} |"
        )
    failures = [failure for report in reports for failure in report.failures]
    return "\n".join([*lines, "", *(failures or ["every trial was judged as its label says"])])
