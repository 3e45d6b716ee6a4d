"""`python3 -m bench.study.collect FOLDER...`: adds finished runs on chains to results/chain_cpu/validations.csv.

A folder is a sweep's, as out/study of `--reproduce study`, or one whose name ends with its cell, as d15-q40-n1: depth
15, q .4, a tenth of the steps wrong (1r: the same errors in all solutions). Its runs replace those of the same names;
those whose name says that their settings are others (hints without their likelihood, GRPO without the bonus) are
skipped, and those whose settings are not what recipes/settings/reproduce.yaml lists for their cell are refused, but
not for another file (--file), which takes whatever is given. Then draw the page: python3 -m bench.study.page.
"""

from __future__ import annotations

import csv
import io
import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from bench.lab.planned import flags_of
from bench.study.cells import SUPERVISED, Cell
from bench.study.figures import REAL_FILE, named
from eval.models import one_spelling
from recipes.algorithms import algorithms
from recipes.commands.reproduce import runs_of
from recipes.common.errors import ExperimentError
from recipes.common.numbered import counted
from recipes.common.run_dir import RunDir, damaged_lines, read_json, read_metrics, write_text
from recipes.settings.experiment import Experiment
from recipes.settings.saved import read_experiment

HEAD = ("sweep", "run", "step", "val/acc", "val/greedy")

_FREE = {"test_freq", "save_freq", "keep_checkpoints", "log_rollouts", "logger", "project", "run_name", "own_texts"}
"""Settings that change no figure."""


@cache
def listed() -> dict[tuple[Cell, str], Experiment]:
    """The experiment that `--reproduce study` lists for a cell and a method."""
    _, runs = runs_of("study", flags_of(["--seeds", "0"]))
    about = {run.planned.name: named("study", run.planned.name) for run in runs}
    return {known[:2]: run.planned.experiment for run in runs if (known := about[run.planned.name])}


def rows_of(folder: Path) -> list[tuple[str, ...]]:
    """A line of the file for each validation of a finished run.

    Raises:
        ValueError: for a run of the lab, and for files that are damaged or metrics that end before the run did.
    """
    metrics, file = RunDir(folder).metrics, RunDir(folder).summary
    summary = read_json(file)
    if not summary:
        raise ValueError(f"{file}: is damaged")
    if summary.get("lab"):
        raise ValueError(f"{folder}: is a run of the lab; these files have runs of the real loop")
    if bad := damaged_lines(metrics):
        raise ValueError(f"{metrics}: line {bad[0]} is damaged")
    found = {line["step"]: line["data"] for line in read_metrics(metrics) if "val/acc" in line["data"]}
    if not found or max(found) != summary.get("last step", max(found)):
        raise ValueError(f"{metrics}: its last validation is not the end of the run, step {summary.get('last step')}")
    for step, of in found.items():
        if type(step) is not int or step < 0:
            raise ValueError(f"{metrics}: step {step!r} is no step")
        for name in {"val/acc", "val/greedy"} & of.keys():
            if not 0 <= of[name] <= 1:
                raise ValueError(f"{metrics}: step {step}: {name} {of[name]} is no share")
    about = (folder.parent.name, folder.name)
    return [(*about, str(step), str(of["val/acc"]), str(of.get("val/greedy", ""))) for step, of in found.items()]


def refuse_other(folder: Path, cell: Cell, algo: str, seed: int, last: int) -> None:
    """Raise ValueError if the settings of a run, or its last step, are not those that the study lists for what its name
    says."""
    if (cell, algo) not in listed():
        raise ValueError(f"{folder}: recipes/settings/reproduce.yaml lists no {algo} at {cell.title}; add it there")
    try:
        mine, wanted = read_experiment(RunDir(folder).experiment), replace(listed()[cell, algo], seed=seed)
    except ExperimentError as error:
        raise ValueError(f"{folder}: {error}") from None
    of_both = [(_settings(mine), _settings(wanted)), (mine.data_options, wanted.data_options)]
    for name, theirs, study in [(n, a.get(n), b.get(n)) for a, b in of_both for n in sorted(a.keys() | b.keys())]:
        if theirs != study:
            raise ValueError(f"{folder}: --{name} {theirs}, where the study has {study} ({cell.title})")
    if algo not in SUPERVISED and last != wanted.T:
        raise ValueError(f"{folder}: ended at step {last} of {wanted.T}")


def _settings(e: Experiment) -> dict[str, Any]:
    name = next((each.name for each in algorithms().values() if e.algo in (each.name, *each.aliases)), e.algo)
    values = {**asdict(e), "algo": name, "model": one_spelling(e.model)}
    return {name: value for name, value in values.items() if name not in _FREE | {"data_options"}}


def collect(folders: Sequence[Path], file: Path, *, of_cells: bool = True) -> tuple[int, list[str]]:
    """Add the finished runs in the folders to the file; their number, and the names of runs that are skipped, which is
    none unless they have to be `of_cells`.

    Raises:
        ValueError: for a run whose name and folder do not say its cell, or another than its settings do, or that is
            damaged, and for folders or a file that are not what they should be; the file then stays as it is.
    """
    added: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    skipped = []
    texts: dict[bytes, Path] = {}
    runs = sorted({summary.parent for folder in folders for summary in folder.glob("*/summary.json")})
    if not runs:
        raise ValueError(f"{', '.join(map(str, folders))}: no finished run in it; give the folder of a sweep")
    for run in runs:
        if (run.parent.name, run.name) in added:
            raise ValueError(f"{run}: a run of the same sweep and name is in another of the folders")
        about = named(run.parent.name, run.name) if of_cells else None
        if of_cells and about is None:
            skipped.append(run.name)
            continue
        rows = added[run.parent.name, run.name] = rows_of(run)
        if (first := texts.setdefault(RunDir(run).metrics.read_bytes(), run)) != run:
            raise ValueError(f"{run}: is a copy of {first}")
        if about:
            refuse_other(run, *about, max(int(row[2]) for row in rows))
    before = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
    if before and before[0] != ",".join(HEAD):
        raise ValueError(f"{file}: is no file of validations: line 1 is not {','.join(HEAD)}")
    kept = [tuple(row) for row in csv.reader(before)][1:]
    if odd := [number for number, row in enumerate(kept, 2) if len(row) != len(HEAD) or not row[2].isdigit()]:
        raise ValueError(f"{file}: line {odd[0]} is damaged")
    together = [row for row in kept if row[:2] not in added] + [row for each in added.values() for row in each]
    text = io.StringIO()
    together.sort(key=lambda row: ("/".join(row[:2]), int(row[2])))
    csv.writer(text, lineterminator="\n").writerows([HEAD, *together])
    write_text(file, text.getvalue())
    return len(added), skipped


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = ArgumentParser(prog="python3 -m bench.study.collect", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="of a sweep")
    parser.add_argument("--file", type=Path, help="a file for runs that the study's does not take")
    options = parser.parse_args(arguments)
    for folder in options.folders:
        if not folder.is_dir():
            parser.error(f"{folder}: is no folder")
    folders = [Path(os.path.abspath(folder)) for folder in options.folders]  # a linked one keeps its name
    file = options.file or REAL_FILE
    try:
        count, skipped = collect(folders, file, of_cells=file.resolve() == REAL_FILE.resolve())
    except (ValueError, OSError, RecursionError) as error:
        parser.error(str(error))
    lines = [f"skipped, settings of its own: {name}" for name in skipped]
    begun = sorted(each.parent for folder in folders for each in folder.glob(f"*/{RunDir(folder).experiment.name}"))
    lines += [f"skipped, not finished: {run.name}" for run in begun if not RunDir(run).summary.exists()]
    print(f"{counted(count, 'run')} added to {file}", *lines, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
