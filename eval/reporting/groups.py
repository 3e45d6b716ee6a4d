"""Which runs belong together: a panel is a task and a model, a group an algorithm in one setting, its runs are seeds.

Runs that differ in anything but the seed are never averaged: they are separate groups, labelled by what differs.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.reporting.read_runs import Run
from eval.reporting.style import ALGORITHMS

# Settings that say how a run is carried out, without changing what it computes.
OPERATIONAL = frozenset(
    {
        *("seed", "logger", "project", "run_name", "log_rollouts", "keep_checkpoints", "save_freq", "test_freq"),
        *("tokens_per_micro_batch", "rollout_memory", "max_num_seqs", "allow_overlap", "profile"),
        *("max_reward_error_rate", "max_timeout_rate", "max_parse_fail_rate", "parse_fail_steps"),
    }
)


@dataclass(frozen=True)
class Group:
    """Runs that differ only in their seed."""

    algo: str
    variant: str
    """How this group differs from others of its algorithm in the panel; empty if there is no other."""
    runs: tuple[Run, ...]

    @property
    def label(self) -> str:
        return f"{self.algo}, {self.variant}" if self.variant else self.algo

    @property
    def seeds(self) -> int:
        return len({run.seed for run in self.runs})


@dataclass(frozen=True)
class Panel:
    """All runs on one task with one model."""

    title: str
    groups: tuple[Group, ...]

    @property
    def slug(self) -> str:
        """The title as part of a file name."""
        return re.sub(r"[^a-z0-9]+", "_", self.title.lower()).strip("_") or "runs"

    @property
    def base_accuracy(self) -> float | None:
        """The base model's accuracy, the mean over the runs that measured it."""
        found = [run.base_accuracy for group in self.groups for run in group.runs]
        known = [value for value in found if value is not None]
        return sum(known) / len(known) if known else None


def panels(runs: Sequence[Run]) -> list[Panel]:
    """Runs by task and model, then by algorithm and setting, in the order of the legend."""
    places: dict[tuple[str, ...], list[Run]] = defaultdict(list)
    for run in runs:
        places[run.task, run.model, _key(run.settings.get("data_options"))].append(run)
    titles = _titles(list(places))
    return [Panel(titles[place], tuple(_groups(places[place]))) for place in sorted(places)]


def _titles(places: list[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """The task, and whatever else distinguishes the panels."""
    models, tasks = {model for _, model, _ in places}, [place[:2] for place in places]
    titles: dict[tuple[str, ...], str] = {}
    for task, model, options in places:
        parts = [task, model] if len(models) > 1 else [task]
        if tasks.count((task, model)) > 1:
            parts.append(options.strip("{}").replace('"', ""))
        titles[task, model, options] = ", ".join(part for part in parts if part)
    return titles


def _groups(runs: Sequence[Run]) -> list[Group]:
    by_algo: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        by_algo[run.algo][_key(_defining(run.settings))].append(run)
    found = []
    for algo in sorted(by_algo, key=rank):
        settings = by_algo[algo]
        varied = varying([each[0].settings for each in settings.values()], OPERATIONAL)
        for each in settings.values():
            variant = ", ".join(f"{name} {shown(each[0].settings.get(name))}" for name in varied)
            found.append(Group(algo, variant, tuple(sorted(each, key=lambda run: (str(run.seed), run.name)))))
    return sorted(found, key=lambda group: (rank(group.algo), group.variant))


def rank(algo: str) -> tuple[int, str]:
    """Sort key of an algorithm in legends and tables."""
    known = list(ALGORITHMS)
    return (known.index(algo) if algo in known else len(known), algo)


def varying(settings: Sequence[Mapping[str, Any]], but: frozenset[str] = frozenset()) -> list[str]:
    """Names of the settings that differ, in their order."""
    names = dict.fromkeys(name for each in settings for name in each)
    return [name for name in names if name not in but and len({_key(each.get(name)) for each in settings}) > 1]


def shown(value: Any) -> str:
    """A setting as readable text."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(each)}" for name, each in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value)) or "-"
    return f"{value:g}" if isinstance(value, float) else "-" if value is None else str(value)


def _defining(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in OPERATIONAL}


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
