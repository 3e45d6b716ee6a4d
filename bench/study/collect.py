"""`python3 -m bench.study.collect FOLDER...`: adds finished runs on chains to results/chain_cpu/validations.csv.

A folder is a sweep's, as out/study of `--reproduce study`, or one whose name ends with its cell, as d15-q40-n1: depth
15, q .4, a tenth of the steps wrong (1r: the same errors in all solutions). Its runs replace those of the same names;
those whose name says that their settings are others (hints without their likelihood, GRPO without the bonus) are
skipped, and those whose settings are not what recipes/settings/reproduce.yaml lists for their cell are refused, but
not for another file (--file), which takes runs with any settings. Then draw the page: python3 -m bench.study.page.
"""

from __future__ import annotations

import csv
import fcntl
import io
import os
import re
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.lab.planned import flags_of
from bench.study.cells import SUPERVISED, Cell
from bench.study.figures import REAL_FILE, named
from bench.study.scan import lock
from eval.models import one_spelling
from recipes.algorithms import algorithms
from recipes.commands.reproduce import runs_of
from recipes.common.numbered import counted
from recipes.common.run_dir import RunDir, damaged_lines, read_json, read_metrics, write_text
from recipes.run.launch import is_finished
from recipes.settings.experiment import Experiment
from recipes.settings.saved import read_experiment

HEAD = ("sweep", "run", "step", "val/acc", "val/greedy")

_FREE = {"test_freq", "save_freq", "keep_checkpoints", "log_rollouts", "logger", "project", "run_name", "own_texts"}
"""Settings that change no figure."""


@cache
def listed() -> dict[tuple[Cell, str], Experiment]:
    """The experiment that `--reproduce study` lists for a cell and a method."""
    with TemporaryDirectory() as nowhere:  # runs in out/study, which may be anything, do not matter here
        _, runs = runs_of("study", flags_of(["--seeds", "0", "--out", nowhere]))
    about = {run.planned.name: named("study", run.planned.name) for run in runs}
    return {known[:2]: run.planned.experiment for run in runs if (known := about[run.planned.name])}


def rows_of(folder: Path) -> list[tuple[str, ...]]:
    """A line of the file for each validation of a finished run.

    Raises:
        ValueError: for a run of the lab, and files that are damaged or of another run.
    """
    run = RunDir(folder)
    summary = read_json(run.summary)
    if not summary:
        raise ValueError(f"{run.summary.name} is damaged")
    if summary.get("lab"):
        raise ValueError("is a run of the lab; these files have runs of the real loop")
    if bad := damaged_lines(run.metrics):
        raise ValueError(f"{run.metrics.name}: line {bad[0]} is damaged")
    found = {line["step"]: line["data"] for line in read_metrics(run.metrics) if "val/acc" in line["data"]}
    end = max(found, default=0)
    # Summaries of older versions do not have their last step.
    if not found or end != summary.get("last step", end) or found[end]["val/acc"] != summary.get("val/acc last"):
        raise ValueError(f"{run.metrics.name}: its last validation is not the end of the run in {run.summary.name}")
    about = (folder.parent.name, folder.name)
    rows: list[tuple[str, ...]] = [
        (*about, f"{step}", f"{of['val/acc']}", f"{of.get('val/greedy', '')}") for step, of in found.items()
    ]
    if odd := next((row for row in rows if not _is_line(row)), None):
        said = ", ".join(f"{name} {value}" for name, value in zip(HEAD[2:], odd[2:], strict=True) if value)
        raise ValueError(f"{run.metrics.name}: {said}: steps are from 0 on, shares from 0 to 1")
    return rows


def _is_line(row: Sequence[str]) -> bool:
    """Whether a line of the file has a step, and shares of right answers."""
    if len(row) != len(HEAD) or not re.fullmatch(r"\d{1,9}", row[2], re.ASCII):
        return False
    try:
        return all(0 <= float(share) <= 1 for share in (row[3], row[4] or "0"))
    except ValueError:
        return False


def refuse_other(folder: Path, cell: Cell, algo: str, seed: int) -> None:
    """Raise ValueError if the settings of a run are not those that the study lists for what its name says, or if it,
    unless it is supervised alone, was not validated at its end, which summaries of older versions do not tell."""
    if (cell, algo) not in listed():
        raise ValueError(f"recipes/settings/reproduce.yaml lists no {algo} at {cell.title}; add it there")
    mine, wanted = read_experiment(RunDir(folder).experiment), replace(listed()[cell, algo], seed=seed)
    of_both = [(_settings(mine), _settings(wanted)), (mine.data_options, wanted.data_options)]
    for name, its, study in [(n, a.get(n, ""), b.get(n, "")) for a, b in of_both for n in sorted({*a, *b}, key=str)]:
        if its != study:
            raise ValueError(f"--{name} {its}, where the study has {study} ({cell.title})")
    if read_json(RunDir(folder).summary).get("experiment_hash") != mine.hash:
        raise ValueError("summary.json is of a run with other settings than experiment.yaml")
    last = max(line["step"] for line in read_metrics(RunDir(folder).metrics) if "val/acc" in line["data"])
    if algo not in SUPERVISED and last != mine.T:
        raise ValueError(f"metrics.jsonl: its last validation is of step {last}, its run has {mine.T}")


def _settings(e: Experiment) -> dict[str, Any]:
    name = next((each.name for each in algorithms().values() if e.algo in (each.name, *each.aliases)), e.algo)
    values = {**asdict(e), "algo": name, "model": one_spelling(e.model)}
    return {name: value for name, value in values.items() if name not in _FREE | {"data_options"}}


@dataclass(frozen=True)
class Collected:
    """What became of the runs in the folders."""

    added: int
    others: list[str]
    """Names of those whose settings are no cell's."""
    unfinished: list[str]


def collect(folders: Sequence[Path], file: Path, *, of_cells: bool = True) -> Collected:
    """Add the finished runs in the folders to the file, if they have to be `of_cells` but those with other settings.

    Raises:
        ValueError: for a run whose name and folder do not say its cell, or another than its settings do, or that is
            damaged or a copy of another of them, and for folders or a file that are not what they should be; the file
            then stays as it is.
    """
    added: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    found = Collected(0, [], [])
    texts: dict[bytes, Path] = {}
    runs = _runs(folders)
    if not runs:
        raise ValueError(f"{', '.join(map(str, folders))}: no run in it; give the folder of a sweep")
    for run in runs:
        if _is_unfinished(run):
            found.unfinished.append(run.name)
            continue
        about = named(run.parent.name, run.name) if of_cells else None
        if of_cells and about is None:
            found.others.append(run.name)
            continue
        try:
            if (run.parent.name, run.name) in added:
                raise ValueError("a run of the same sweep and name is in another of the folders")
            added[run.parent.name, run.name] = rows_of(run)
            if (first := texts.setdefault(RunDir(run).metrics.read_bytes(), run)) != run:
                raise ValueError(f"is a copy of {first}")
            if about:
                refuse_other(run, *about)
        except (ValueError, OSError, OverflowError, RecursionError) as error:
            raise ValueError(f"{run}: {error}") from None
    if len(found.unfinished) == len(runs):
        raise ValueError(f"none of {counted(len(runs), 'run')} is finished: {', '.join(found.unfinished)}")
    with _held(file):
        rows = [row for row in _lines(file) if row[:2] not in added] + [row for each in added.values() for row in each]
        rows.sort(key=lambda row: ("/".join(row[:2]), int(row[2])))
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([HEAD, *rows])
        write_text(file, text.getvalue())
    return replace(found, added=len(added))


@contextmanager
def _held(file: Path) -> Iterator[None]:
    """Within the block no other process that collects reads or writes the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with file.open("ab") as handle:
            lock(handle, fcntl.LOCK_EX)
            # The one that held it may have replaced the file between our opening and locking it.
            if os.fstat(handle.fileno()).st_ino == file.stat().st_ino:
                yield
                return


def _runs(folders: Sequence[Path]) -> list[Path]:
    """Folders with what a run begins or ends with."""
    names = [path.name for path in (RunDir(Path()).experiment, RunDir(Path()).summary)]
    return sorted({found.parent for folder in folders for name in names for found in folder.glob(f"*/{name}")})


def _is_unfinished(run: Path) -> bool:
    """Whether there is more of it to come, which a damaged summary does not say, nor one of the lab."""
    found = read_json(RunDir(run).summary)
    return not RunDir(run).summary.exists() or (bool(found) and not found.get("lab") and not is_finished(RunDir(run)))


def _lines(file: Path) -> list[tuple[str, ...]]:
    """What the file has already. Raises ValueError if it is damaged or another file."""
    if not file.exists():
        return []
    try:
        with file.open(encoding="utf-8", newline="") as handle:
            head, *rows = [tuple(row) for row in csv.reader(handle, strict=True)] or [HEAD]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: is damaged: {error}") from None
    if head != HEAD:
        raise ValueError(f"{file}: is no file of validations: line 1 is not {','.join(HEAD)}")
    if odd := [number for number, row in enumerate(rows, 2) if not _is_line(row)]:
        raise ValueError(f"{file}: line {odd[0]} is damaged")
    return rows


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
    try:
        file = (options.file or REAL_FILE).resolve()
        found = collect(folders, file, of_cells=file == REAL_FILE.resolve())
    except (ValueError, OSError, RuntimeError) as error:  # the last: links in a circle
        parser.error(str(error))
    lines = [f"skipped, settings of its own: {name}" for name in found.others]
    lines += [f"skipped, not finished: {name}" for name in found.unfinished]
    print(f"{counted(found.added, 'run')} added to {file}", *lines, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
