"""`python3 -m bench.study.scan [--until HH:MM] [--dry_run]`: the runs of the scan, in the lab, that its file lacks.

EXPLORATION (bench/lab). A finished run is one append to results/study/scan.csv, a line a validation; a run that was
stopped leaves nothing and is made again. A process uses one core: start as many as there are.
"""

from __future__ import annotations

import argparse
import csv
import errno
import fcntl
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache, partial
from io import TextIOWrapper
from itertools import groupby
from pathlib import Path
from typing import IO, Any, Final, TextIO

from bench.study.cells import SEE_NO_SOLUTION, Cell, Run, flags_of, runs
from recipes import ROOT
from recipes.settings.experiment import Experiment

FILE: Final = ROOT / "results/study/scan.csv"
HEAD: Final = (
    *("depth", "q", "noise", "solved", "algo", "seed", "step"),
    *("accuracy", "greedy", "generated", "trained", "seconds"),
)
LOCKS: Final = ROOT / "out/study/locks"

Work = tuple[str, Callable[[], None]]
"""A run's title, and what makes it."""

_CHECKED: Final[set[object]] = set()
"""Data that this process has checked."""


def cell_of(row: Mapping[str, str]) -> Cell:
    """The cell of a line."""
    return Cell(int(row["depth"]), float(row["q"]), float(row["noise"]), float(row["solved"]))


def run_of(row: Mapping[str, str]) -> Run:
    """The run that a line is a validation of."""
    return Run(cell_of(row), row["algo"], int(row["seed"]))


def alike(cell: Cell) -> tuple[int, float, int]:
    """Equal in two cells that are one to a method that sees no solution."""
    return cell.depth, cell.q, cell.batch


def each_line(file: Path, take: Callable[[Mapping[str, str]], None]) -> None:
    """Let a function have every line of a csv file. Raises ValueError for one that cannot be read, or is cut."""
    with _reading(file) as lines:
        rows = csv.DictReader(lines)
        try:
            for r in rows:
                if None in r or None in r.values():
                    raise ValueError("more or fewer fields than the first line has")
                take(r)
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise ValueError(f"{file}: line {rows.line_num}: {error}") from None


@contextmanager
def _reading(file: Path) -> Iterator[TextIO]:
    """A csv file that nobody adds to within the block. Raises ValueError if its last line is cut."""
    with file.open("rb") as raw:
        lock(raw, fcntl.LOCK_SH)
        size = raw.seek(0, os.SEEK_END)
        if size and os.pread(raw.fileno(), 1, size - 1) != b"\n":
            raise ValueError(f"{file}: its last line is cut; remove it, and the other lines of its run")
        raw.seek(0)
        with TextIOWrapper(raw, encoding="utf-8", errors="replace", newline="") as lines:
            yield lines


def lock(file: IO[bytes], how: int) -> None:
    """Lock a file until it is closed, if its file system has locks, as some of clusters have not."""
    try:
        fcntl.flock(file, how)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise


def made(file: Path = FILE) -> set[Run]:
    """The runs that the file has."""
    found: set[Run] = set()
    if file.exists():
        each_line(file, lambda row: found.add(run_of(row)))
    return found


def shared(run: Run, file: Path = FILE) -> list[list[Any]]:
    """The lines of the same run with other solutions, where its method sees none; its seconds are that run's."""
    if run.algo not in SEE_NO_SOLUTION or not file.exists():
        return []
    with _reading(file) as lines:
        for other, same in groupby(csv.DictReader(lines), run_of):
            if replace(other, cell=run.cell) == run and alike(other.cell) == alike(run.cell):
                about = (run.cell.depth, run.cell.q, run.cell.noise, run.cell.solved)
                return [[*about, *list(row.values())[4:]] for row in same]
    return []


def append(rows: Sequence[Sequence[Any]], file: Path = FILE, head: Sequence[str] = HEAD) -> None:
    """Add a run's lines, all or, where they do not fit on the disk (OSError), none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab", buffering=0) as target:
        lock(target, fcntl.LOCK_EX)
        size = target.seek(0, os.SEEK_END)
        text = "".join(",".join(map(str, row)) + "\n" for row in ([] if size else [head]) + list(rows)).encode()
        try:
            if target.write(text) != len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        except OSError:
            target.truncate(size)
            raise


@lru_cache(maxsize=1)
def plans(flags: tuple[str, ...]) -> dict[str, Experiment]:
    """The experiments of a sweep's flags, by method."""
    from bench.lab.planned import planned

    return {each.experiment.algorithm.name: each.experiment for each in planned(flags)[0]}


def make(run: Run, changed: Callable[[Experiment], Experiment] = lambda experiment: experiment) -> list[list[Any]]:
    """Make a run, with its settings `changed`; its lines."""
    cell = run.cell
    experiment = changed(plans(tuple(flags_of(cell, run.seed)))[run.algo])
    about = [cell.depth, cell.q, cell.noise, cell.solved, run.algo, run.seed]
    return [about + point for point in points(experiment)]


def points(experiment: Experiment) -> list[list[Any]]:
    """Run an experiment in the lab: [step, accuracy, greedy, generated, trained, seconds] of each validation."""
    from transformers import AutoTokenizer

    from bench.lab import model, train
    from bench.lab.data import rows_of
    from bench.lab.rollouts import Lab
    from recipes.common.run_dir import RunDir, read_metrics
    from recipes.data import datafiles

    shape, parameters = model.load(Path(experiment.model))
    lab = Lab(experiment, AutoTokenizer.from_pretrained(experiment.model), shape)
    data = datafiles.prepared(experiment, ROOT)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        problems = rows_of(experiment, folder / "data", check=data not in _CHECKED)
        _CHECKED.add(data)
        began = time.monotonic()
        train.run(lab, parameters, *problems, folder)
        seconds = round(time.monotonic() - began, 1)
        first = [line["data"] for line in read_metrics(RunDir(folder / "sft").metrics)]
        before = max((each.get("lab/trained", 0) for each in first), default=0)
        found, generated, trained = [], 0.0, 0.0
        for line in read_metrics(RunDir(folder).metrics):
            of = line["data"]
            generated, trained = of.get("lab/generated", generated), of.get("lab/trained", trained)
            if "val/acc" in of:
                shares = [round(of["val/acc"], 4), round(of["val/greedy"], 4)]
                found.append([line["step"], *shares, int(generated), int(before + trained), seconds])
        return found


def build_base(cell: Cell) -> None:
    """Make the base of a cell (two minutes), where there is none."""
    from data_prep.chain.base.__main__ import build
    from data_prep.chain.base.texts import TextSettings
    from data_prep.chain.base.train import TrainSettings

    with alone(cell.base.name, wait=True):
        if not cell.base.exists():
            cell.base.parent.mkdir(parents=True, exist_ok=True)
            build(cell.base, 0, TrainSettings(), TextSettings(cell.q))


def next_time(given: str, now: datetime | None = None) -> datetime:
    """When it is HH:MM for the next time, which may be tomorrow. Raises argparse's error for anything else."""
    now = now or datetime.now()
    try:
        today = datetime.combine(now, datetime.strptime(given, "%H:%M").time())
    except ValueError:
        raise argparse.ArgumentTypeError(f"{given}: no time of day; write it like 18:00") from None
    return today if today > now else today + timedelta(days=1)


@contextmanager
def alone(what: str, *, wait: bool = False) -> Iterator[bool]:
    """Whether no other process of this checkout is at the same thing, which `wait` waits for; ends with the process."""
    LOCKS.mkdir(parents=True, exist_ok=True)
    with (LOCKS / hashlib.sha256(what.encode()).hexdigest()[:16]).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def carry_on(
    name: str, about: str | None, every: Sequence[Work], have: Callable[[], Set[str]], arguments: Sequence[str] | None
) -> int:
    """A command that makes the runs that are not made, one after the other, until a time of day, or lists them;
    returns the exit code. Several at once share the work.

    Args:
        name: of its module.
        about: what its help says.
        every: all runs.
        have: titles of those that the file has by now.
    """
    parser = argparse.ArgumentParser(prog=f"python3 -m {name}", description=about)
    parser.add_argument(
        "--until", metavar="HH:MM", type=next_time, help="start no run after this time of day, tomorrow's if it is past"
    )
    parser.add_argument("--dry_run", action="store_true", help="list the runs")
    options = parser.parse_args(arguments)
    try:
        at_first = have()
    except (ValueError, OSError) as error:
        parser.error(str(error))
    left = [work for work in every if work[0] not in at_first]
    if options.dry_run:
        print(*(title for title, _ in left), sep="\n")
        print(f"{len(every)} runs in the lab, {len(every) - len(left)} made, {len(left)} left")
        return 0
    import torch

    # A run is too small for two cores: give each a process of its own.
    torch.set_num_threads(1)
    print(f"{len(left)} of {len(every)} runs are not made yet", flush=True)
    for title, make_it in left:
        if options.until and datetime.now() >= options.until:
            return 0
        with alone(f"{name} {title}") as mine:
            try:
                if mine and title not in have():
                    print(title, flush=True)
                    make_it()
            except (ValueError, OSError) as error:
                parser.error(str(error))
    return 0


def _add(run: Run) -> None:
    build_base(run.cell)
    append(shared(run) or make(run))


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what the file lacks; returns the exit code."""
    every = [(run.title, partial(_add, run)) for run in runs()]
    return carry_on("bench.study.scan", __doc__, every, lambda: {run.title for run in made()}, arguments)


if __name__ == "__main__":
    sys.exit(main())
