"""Run folders as they are on disk, finished or not: settings, metrics by step, summary, answers. What a run has not
recorded is missing here too.

Folder: out/uft-countdown/ with experiment.yaml, metrics.jsonl, validation/30.jsonl, rollouts/1.jsonl, summary.json
"""

from __future__ import annotations

import json
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from eval.models import one_spelling
from recipes.algorithms import AlgorithmFileError, get_algorithm
from recipes.common.run_dir import RunDir, read_metrics
from recipes.settings.saved import as_of_today

_DEEPEST = 4
_TAG = re.compile(r"<\|[^<|>]*\|>|</?s>|<bos>|<eos>")

Metrics = Mapping[int, Mapping[str, float]]
Points = tuple[list[int], list[float]]


class NotARun(ValueError):
    """A folder that cannot be reported on; the message says why."""


@dataclass(frozen=True)
class Run:
    """One run folder."""

    folder: Path
    settings: Mapping[str, Any]
    """experiment.yaml."""
    metrics: Metrics
    """By step, of the reinforcement stage, or of the supervised one if there is no other."""
    supervised: Metrics
    """By step, of the supervised stage, if there is one."""
    summary: Mapping[str, Any]
    """summary.json; empty until the run has finished."""
    total_steps: int | None
    """Total steps of the last stage; None if it has not begun."""
    start_to_first_step: float | None
    """In seconds."""
    supervised_seconds: float
    """Duration of the supervised stage's steps; 0 without one."""

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def algo(self) -> str:
        algo = str(self.settings["algo"])
        return Path(algo).stem if algo.endswith(".py") else algo

    @property
    def seed(self) -> int | None:
        return self.settings.get("seed")

    @property
    def task(self) -> str:
        return Path(str(self.settings.get("data", ""))).name

    @property
    def model(self) -> str:
        path = Path(str(self.settings.get("model", "")))
        # Weights of any other run are called last or best.
        return f"{path.parents[1].name} ({path.name})" if path.parent.name == "hf" else path.name

    @property
    def finished(self) -> bool:
        return bool(self.summary)

    @property
    def last_step(self) -> int:
        return max(self.metrics, default=0)

    @property
    def only_supervised(self) -> bool:
        return self.metrics is self.supervised and bool(self.metrics)

    def points(self, key: str) -> Points:
        """Steps and values of a metric, if it was recorded."""
        return points(self.metrics, key)

    @property
    def base_accuracy(self) -> float | None:
        """Accuracy of the base model, if this run measured it."""
        if (before := self.summary.get("val/acc before")) is not None:
            return float(before)
        if (evaluated := _evaluated(self.folder / "eval" / "base")) is not None:
            return evaluated
        # The reinforcement stage of a chained run starts from the supervised model instead.
        if (self.folder / "sft").is_dir():
            return None
        return self.metrics.get(0, {}).get("val/acc")


def points(metrics: Metrics, key: str) -> Points:
    """Steps and values of a metric, if it was recorded."""
    found = [(step, data[key]) for step, data in sorted(metrics.items()) if key in data]
    return [step for step, _ in found], [value for _, value in found]


def find_runs(folders: Iterable[Path]) -> tuple[list[Run], list[tuple[Path, str]]]:
    """All runs in these folders, each a run or a folder of runs, and the skipped folders with the reason."""
    runs: dict[Path, Run] = {}
    skipped: list[tuple[Path, str]] = []
    for folder in folders:
        found = _below(folder, _DEEPEST) if folder.is_dir() else []
        if not found:
            skipped.append((folder, "has no run (no experiment.yaml)" if folder.is_dir() else "is not a folder"))
        for each in found:
            if each.resolve() in runs:
                continue
            try:
                runs[each.resolve()] = load(each)
            except NotARun as error:
                skipped.append((each, str(error)))
    return list(runs.values()), skipped


def _below(folder: Path, depth: int) -> list[Path]:
    """Run folders at or below a folder; a run's own folders are not searched."""
    if (folder / "experiment.yaml").is_file():
        return [folder]
    if depth == 0:
        return []
    try:
        inside = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    except OSError:
        return []
    return [run for each in inside for run in _below(each, depth - 1)]


def _spelled_alike(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings with one text for an embedded model: a sweep hands on its whole path, the default has none."""
    model = settings.get("model")
    return {**settings, "model": one_spelling(model)} if isinstance(model, str) else settings


def load(folder: Path) -> Run:
    """Read a run folder.

    Raises:
        NotARun: if its settings cannot be read, or it is an evaluation without training.
    """
    run = RunDir(folder)
    try:
        settings = yaml.safe_load(run.experiment.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise NotARun(f"its experiment.yaml cannot be read ({type(error).__name__})") from None
    if not isinstance(settings, dict) or "algo" not in settings:
        raise NotARun("its experiment.yaml names no algo")
    if (folder / "eval" / "given").is_dir() and not run.metrics.exists():
        raise NotARun("is an evaluation, not a training run")
    metrics, ended = _metrics(run.metrics)
    supervised = folder / "sft" / "metrics.jsonl"
    chained = _metrics(supervised)[0]
    only = _stages(settings["algo"]) == ("sft",)
    config = folder / "verl.yaml"
    # The configuration is written just before the trainer starts.
    first_step = ended[1] - config.stat().st_mtime if config.exists() and 1 in ended else None
    return Run(
        folder=folder,
        settings=_spelled_alike(as_of_today(settings)),
        metrics=metrics,
        supervised=metrics if only else chained,
        summary=_json(run.summary),
        total_steps=_json(run.progress).get("total_steps"),
        # Copying a folder may have changed the file's time.
        start_to_first_step=first_step if first_step is None or first_step > 0 else None,
        supervised_seconds=_seconds(run.metrics if only else supervised),
    )


def _seconds(file: Path) -> float:
    """Duration of the supervised steps: their number times the median time from the previous record to a step's, which
    ignores validations and the starts of resumed runs."""
    rows = read_metrics(file)
    steps = [at for at, row in enumerate(rows) if "train/loss" in row["data"]]
    durations = [rows[at]["time"] - rows[at - 1]["time"] for at in steps if at > 0]
    return statistics.median(durations) * len(steps) if durations else 0.0


def _stages(algo: str) -> tuple[str, ...]:
    try:
        return get_algorithm(algo).stages
    except (KeyError, AlgorithmFileError):
        # From another version of this repository, or a user's own file.
        return ("rl",)


def _metrics(file: Path) -> tuple[dict[int, dict[str, float]], dict[int, float]]:
    """Metrics by step, and when each step was first recorded."""
    metrics: dict[int, dict[str, float]] = defaultdict(dict)
    ended: dict[int, float] = {}
    for row in read_metrics(file):
        metrics[row["step"]].update(row["data"])
        ended.setdefault(row["step"], row["time"])
    return dict(metrics), ended


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _evaluated(folder: Path) -> float | None:
    results = _json(folder / "results.json")
    mean = results.get("mean_over_sources_unweighted")
    accuracy = mean.get("accuracy") if isinstance(mean, dict) else results.get("accuracy")
    return None if accuracy is None else float(accuracy)


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The lines of a .jsonl file; none if there is no such file, and a line truncated by a kill is skipped."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    rows = []
    # Not splitlines(): answers may contain other line separators.
    for line in text.split("\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def recorded_steps(folder: Path) -> list[int]:
    """Steps with a file <step>.jsonl, in order."""
    return sorted(int(file.stem) for file in folder.glob("*.jsonl") if file.stem.isdigit())


def answers_at(run: Run, at: int | None = None) -> tuple[int, list[dict[str, Any]]]:
    """A validated step, the last if none is given, and the model's answers; no answers if none were kept."""
    if run.only_supervised:
        return run.last_step, read_lines(run.folder / "eval" / "trained" / "items.jsonl")
    validated = RunDir(run.folder).validation
    if at is None:
        steps = recorded_steps(validated)
        at = steps[-1] if steps else run.last_step
    return at, read_lines(validated / f"{at}.jsonl")


def verdicts(run: Run, at: int | None = None) -> dict[tuple[str, int], float]:
    """The share of correct answers to each validation problem (0 or 1 with one answer) at a validated step, the last if
    none is given.

    Problems are identified by their prompt, and by their position among problems with the same prompt. Empty if no
    answers were kept, or if they do not give the recorded accuracy (with several data sources, for example).
    """
    step, answers = answers_at(run, at)
    each = max(1, int(run.settings.get("val_samples") or 0))
    samples: dict[tuple[str, int], list[float]] = defaultdict(list)
    seen: Counter[str] = Counter()
    for answer in answers:
        prompt, acc = answer.get("input"), answer.get("acc")
        if not isinstance(prompt, str) or not isinstance(acc, (int, float)):
            return {}
        # Earlier runs kept prompts without the tokens that are marked as special.
        prompt = _TAG.sub("", prompt)
        samples[prompt, seen[prompt] // each].append(float(acc))
        seen[prompt] += 1
    # Answers to one problem are not independent: an interval over them would be too narrow.
    found = {problem: sum(values) / len(values) for problem, values in samples.items()}
    recorded = run.metrics.get(step, {}).get("val/acc")
    if not found or recorded is None or abs(recorded - sum(found.values()) / len(found)) > 1e-6:
        return {}
    return found
