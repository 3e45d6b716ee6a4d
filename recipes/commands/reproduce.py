"""--reproduce: the runs of a published table (settings/reproduce.yaml) as a sweep, with the published figures.

python3 run.py --reproduce uft_table --dry_run lists runs, GPU hours and commands; --algo, --data, --model select some.
"""

import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from eval.published import Published, beside, published
from eval.reporting.cells import Table, of_columns
from recipes import ROOT
from recipes.commands.planned import Planned
from recipes.commands.sweep import (
    OF_SWEEP,
    distinct,
    experiment_of,
    parallel_of,
    planned,
    seeds_of,
    start,
    sweep_folder,
)
from recipes.commands.train import spread
from recipes.common.errors import ExperimentError, nearest
from recipes.common.listed import listed
from recipes.estimate.gpu_hours import ASSUMPTIONS, gpu_hours
from recipes.flags.effect import refuse_without_effect
from recipes.flags.resolve import default_profile
from recipes.settings.experiment import Experiment
from recipes.settings.presets import TABLES

_CHOOSING = ("algo", "data", "model")
_NAMES = ("row", "trained_on", "cell")
"""Keys of a group of runs that are not flags."""


@dataclass(frozen=True)
class TableRun:
    """A run of a published table."""

    planned: Planned
    row: str
    """Its algorithm's name in the published table."""

    trained_on: str
    """Its training data's name in the published table."""


def reproduce(table: str, flags: dict[str, Any]) -> int:
    """Make the unfinished runs of a table, or list them with --dry_run; returns the exit code.

    Raises:
        ExperimentError: before anything starts, for an unknown table or selection, or settings that a run refuses.
    """
    if flags["part"] is not None and "scan" not in TABLES.get(table, {}):
        raise ExperimentError(f"--part {flags['part']}: --reproduce {table} has no parts; only study does")
    if flags["part"] == "scan":
        return _scan(table, flags)
    folder, runs = runs_of(table, flags)
    parallel = parallel_of(flags)
    if flags["dry_run"]:
        print(listing(table, runs))
        return 0
    return start([run.planned for run in runs], folder, parallel)


def _scan(table: str, flags: Mapping[str, Any]) -> int:
    """Make or list the runs that a study's files of the lab lack, in separate processes."""
    for name, value in flags.items():
        if name not in ("part", "dry_run", "idx") and value not in (None, False):
            raise ExperimentError(f"--{name}: has no effect on the scan, which makes all its runs in a fixed order")
    listed_only = ["--dry_run"] * bool(flags["dry_run"])
    for module in TABLES[table]["scan"]:
        if failed := subprocess.run([sys.executable, "-m", module, *listed_only], cwd=ROOT).returncode:
            return failed
    return 0


def runs_of(table: str, flags: Mapping[str, Any]) -> tuple[Path, list[TableRun]]:
    """A table's folder and its runs with the user's flags; --algo, --data and --model select runs."""
    if table not in TABLES:
        raise ExperimentError(f"--reproduce {table}: unknown{nearest(table, TABLES)} Known: {', '.join(TABLES)}.")
    if flags["profile"] is not None:
        default_profile(0, flags["profile"])
    folder = sweep_folder(flags, table)
    given = {
        name: value
        for name, value in flags.items()
        if name not in (*OF_SWEEP, *_CHOOSING, "part") and value is not None and value is not False
    }
    chosen = _chosen(table, list(_expanded(TABLES[table])), flags)
    every = [{**each, "seed": seed} for seed in seeds_of(flags) for each in chosen]
    own = [{name: value for name, value in each.items() if name not in _NAMES} for each in every]
    shared = spread([{**dict.fromkeys(flags), **each, **given, "seed": each["seed"]} for each in own], experiment_of)
    runs = []
    for each, of_run in zip(every, shared, strict=True):
        row = each.get("row", each["algo"])
        trained_on = each.get("trained_on", TABLES[table].get("published", {}).get("trained_on", each["data"]))
        cell = f"-{each['cell']}" if "cell" in each else ""
        name = f"{row}-{each['data']}-{Path(each['model']).name}{cell}-s{each['seed']}"
        runs.append(TableRun(planned(folder, of_run, name), row, trained_on))
    distinct(run.planned for run in runs)
    refuse_without_effect(given, [run.planned.experiment for run in runs])
    return folder, runs


def _expanded(preset: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The flags of every run of a table: its settings, overridden by a group's; one run per combination of lists."""
    for group in preset["runs"]:
        merged = {**preset["settings"], **group}
        names = [name for name in _CHOOSING if isinstance(merged[name], list)]
        for values in product(*(merged[name] for name in names)):
            yield {**merged, **dict(zip(names, values, strict=True))}


def _chosen(table: str, runs: list[dict[str, Any]], flags: Mapping[str, Any]) -> list[dict[str, Any]]:
    wanted = {name: listed(flags[name], name) for name in _CHOOSING if flags[name] is not None}
    for name, words in wanted.items():
        there = list(dict.fromkeys(run[name] for run in runs))
        for word in words:
            if word not in there:
                raise ExperimentError(
                    f"--{name} {word}: not in {table}{nearest(word, there)} It has {', '.join(there)}."
                )
    runs = [run for run in runs if all(run[name] in words for name, words in wanted.items())]
    if not runs:
        raise ExperimentError(f"--reproduce {table}: no run has this combination of --algo, --data and --model")
    return runs


def listing(table: str, runs: Sequence[TableRun]) -> str:
    """Runs with devices, estimated hours and published figures; the published table, notes and commands."""
    preset = TABLES[table]
    # A run on the CPU is no device hours of anything; the notes say how long it takes.
    on_gpus = any(run.planned.experiment.device == "cuda" for run in runs)
    hours = [gpu_hours(run.planned.experiment, preset["rows"]) for run in runs if on_gpus]
    found = [final(run.planned.experiment) for run in runs]
    columns: dict[str, Sequence[str]] = {
        "run": [run.planned.name for run in runs],
        "state": [run.planned.state for run in runs],
    }
    if on_gpus:
        columns["GPUs"] = [str(run.planned.experiment.n_gpu * run.planned.experiment.nnodes) for run in runs]
        columns["GPU hours *"] = [f"{each:.1f}" for each in hours]
    if any(found):
        columns["published **"] = ["; ".join(map(_shown, entries)) for entries in found]
    sources = dict.fromkeys(entry.source for entries in found for entry in entries)
    weights = runs[0].planned.folder / "hf/last"
    lines = [preset["title"], "", *_aligned(of_columns(columns))]
    total = [f"{len(runs)} runs, about {sum(hours):.0f} GPU hours *", "", f"* {ASSUMPTIONS}"]
    lines += total if on_gpus else [f"{len(runs)} runs on CPUs"]
    lines += [f"** accuracy on the training task at the end of training: {source}" for source in sources]
    lines += ["", *(_published_table(preset, runs) if "published" in preset else ()), ""]
    lines += [f"note: {note}" for note in preset["notes"]]
    lines += [f"skipped: {reason}" for reason in preset.get("left_out", ())]
    lines += ["", "commands:", *(f"  python3 run.py {shlex.join(run.planned.arguments())}" for run in runs)]
    lines += ["then evaluate each run:"]
    lines += [f"  python3 run.py --eval --model {weights} {preset['evaluation']}"]
    return "\n".join(lines)


def final(experiment: Experiment) -> list[Published]:
    """Accuracies published for a run's settings at the end of training."""
    return [entry for entry in beside(asdict(experiment)) if entry.step in (None, experiment.T)]


def _shown(entry: Published) -> str:
    return f"{entry.share:.1%}" + (f" ±{entry.share_error:.1%}" if entry.plus_minus else "")


def _published_table(preset: Mapping[str, Any], runs: Sequence[TableRun]) -> list[str]:
    """The rows of the published table that these runs reproduce, as printed there."""
    where = preset["published"]
    wanted = dict.fromkeys((Path(run.planned.experiment.model).name, run.row, run.trained_on) for run in runs)
    values = {
        (entry.model, entry.algo, entry.trained_on, entry.task): f"{entry.value:g}"
        for entry in published()
        if entry.paper.arxiv == where["arxiv"] and entry.place in where["places"] and not entry.variant
    }
    columns: dict[str, Sequence[str]] = {
        "model": [each[0] for each in wanted],
        "algorithm": [each[1] for each in wanted],
    }
    columns |= {task: [values.get((*each, task), "") for each in wanted] for task in where["columns"]}
    heading = f"published, arXiv {where['arxiv']}, {' and '.join(where['places'])} (percent; mt_bench: out of ten):"
    return [heading, *_aligned(of_columns(columns))]


def _aligned(table: Table) -> list[str]:
    rows = (table.head, *table.rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
