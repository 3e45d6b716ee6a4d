"""The study's committed figures by cell, method, seed and step, and how methods rank in a cell."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from bench.study import scan
from bench.study.cells import FIRST, HARMED, REAL, SEE_NO_SOLUTION, SUPERVISED, Cell
from bench.study.variants import FILE as VARIANTS
from bench.study.variants import made
from eval.intervals import Interval, spread, spread_apart, t_interval
from recipes import ROOT
from recipes.algorithms import algorithms

TASKS_FILE: Final = ROOT / "results/study/tasks.csv"
REAL_FILE: Final = ROOT / "results/chain_cpu/validations.csv"
NEAR: Final = 0.05
"""Accuracy below the best mean of a cell that still counts as near; a cell whose best is lower is not solved at all."""

OURS: Final = ("uft", "uft_adaptive")

# So a run of --reproduce study is called; what follows the cell says that its settings are others.
_REPRODUCED: Final = re.compile(r"(\w+)-chain-tiny-chain-(q\d+)-(d\d+)-(n\dr?)(-\w+)?-s(0|[1-9]\d*)", re.ASCII)

_PLAIN: Final = re.compile(r"(\w+)-chain-s(0|[1-9]\d*)", re.ASCII)

# The name of a sweep in results/chain_cpu says its cell: depth, competence in hundredths, errors in tenths, and r if
# these are repeated.
_NAMED: Final = re.compile(r"[\w .+-]*d([0-9]+)-q([0-9]+)-n([0-9])(r?)")

# Sweeps from before names said it.
_OLDER: Final = {
    REAL[0]: "both10 clock10 dft10 family10 noise10 sft10 unshown10",
    REAL[1]: "q75",
    REAL[2]: "both30 dft30 noise30 sft30",
    REAL[3]: "both0 dft0 noise0 sft0",
    FIRST[0]: "depth15 family15 more12-15 more15 seeds34-family15 sft15 sft2-15 sft34-15",
    Cell(15, 0.4, 0.3): "adaptive15n30 family15n30 fill15n30 more12-15n30 more15n30 sft15n30 third15n30 uft2-15n30",
    HARMED: "family12-20q75n30 family20q75n30 own34-20q75n30 seeds20q75n30 seeds34-20q75n30 sft20q75n30",
}


_OTHER: Final = ("entropy0", "nolikelihood")
"""Sweeps with settings that are not their cell's; they have files of their own."""


@dataclass(frozen=True)
class Point:
    """A validation: shares of right answers, sampled and greedy; tokens generated and trained on until then."""

    accuracy: float
    greedy: float | None = None
    generated: int | None = None
    trained: int | None = None


Runs = dict[int, dict[int, Point]]
"""By seed, validations by step."""
Found = dict[Cell, dict[str, Runs]]
"""By cell and method."""


def of_lab(file: Path = scan.FILE, variant: str | None = None) -> Found:
    """The scan's figures, or those of a variant."""
    found: Found = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))

    def take(r: Mapping[str, str]) -> None:
        if r.get("variant") == variant:
            found[scan.cell_of(r)][r["algo"]][int(r["seed"])][int(r["step"])] = _point(r)

    scan.each_line(file, take)
    return found


def _point(row: Mapping[str, str]) -> Point:
    return Point(float(row["accuracy"]), float(row["greedy"]), int(row["generated"]), int(row["trained"]))


def of_tasks(file: Path = TASKS_FILE) -> dict[str, dict[str, Runs]]:
    """The lab's figures on other tasks than chains, by task and method."""
    found: dict[str, dict[str, Runs]] = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))

    def take(r: Mapping[str, str]) -> None:
        found[r["task"]][r["algo"]][int(r["seed"])][int(r["step"])] = _point(r)

    if file.exists():
        scan.each_line(file, take)
    return found


def cell_of(sweep: str) -> Cell:
    """The cell that a sweep's runs are in. Raises ValueError if its name does not say it."""
    if named := _NAMED.fullmatch(sweep):
        depth, q, noise = map(int, named.groups()[:3])
        return Cell(depth, q / 100, noise / 10, repeated=bool(named[4]))
    for cell, sweeps in _OLDER.items():
        if sweep in sweeps.split():
            return cell
    raise ValueError(f"{sweep}: its name says no cell; end it like d15-q40-n1 (depth 15, q .4, a tenth wrong)")


def named(sweep: str, run: str) -> tuple[Cell, str, int] | None:
    """Cell, method and seed of a real run by its sweep's name and its own; None where its settings are not the cell's.

    Raises:
        ValueError: if they do not say it.
    """
    if found := _REPRODUCED.fullmatch(run):
        algo, q, depth, noise, other, seed = found.groups()
        if algo not in algorithms():
            raise ValueError(f"{sweep}/{run}: no algorithm is called {algo}")
        return None if other else (cell_of(f"{depth}-{q}-{noise}"), algo, int(seed))
    if sweep.startswith(_OTHER):
        return None
    plain = _PLAIN.fullmatch(run)
    if plain is None or plain[1] not in algorithms():
        raise ValueError(f"{sweep}/{run}: no run on chains; call it like uft-chain-s0")
    return cell_of(sweep), plain[1], int(plain[2])


def of_real(file: Path = REAL_FILE) -> Found:
    """The real runs' figures.

    A seed that was run once more is still one seed: its figure is the mean over its runs, equal ones (at the steps that
    both have) taken once. (Its training repeats, so that these are further answers of the same model.) A run that sees
    no solution is a run of every cell that has the same chains, base, number of steps and bonus.
    """
    courses: dict[tuple[Cell, str, int], dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))

    def take(r: Mapping[str, str]) -> None:
        if about := named(r["sweep"], r["run"]):
            courses[about][r["sweep"]][int(r["step"])] = float(r["val/acc"])

    scan.each_line(file, take)
    by_cell: Found = defaultdict(lambda: defaultdict(dict))
    for (cell, algo, number), of_sweeps in courses.items():
        by_cell[cell][algo][number] = {step: Point(x) for course in of_sweeps.values() for step, x in course.items()}
    alike = {cell: (*_without_solutions(cell, methods), cell in REAL) for cell, methods in by_cell.items()}
    shared: dict[tuple[object, str, int], list[dict[int, float]]] = defaultdict(list)
    for (cell, algo, number), of_sweeps in courses.items():
        shared[alike[cell] if algo in SEE_NO_SOLUTION else cell, algo, number] += of_sweeps.values()
    found: Found = defaultdict(lambda: defaultdict(dict))
    for (of, algo, number), each in shared.items():
        points = _mean(each)
        for cell in alike:
            if of in (cell, alike[cell]):
                found[cell][algo][number] = points
    return found


def _mean(courses: Sequence[Mapping[int, float]]) -> dict[int, Point]:
    """Of a seed's runs at every step; runs that are equal wherever both were validated are one."""
    unequal: list[dict[int, float]] = []
    for course in sorted(courses, key=len, reverse=True):
        both = ((each, each.keys() & course.keys()) for each in unequal)
        same = (each for each, steps in both if steps and all(each[step] == course[step] for step in steps))
        if (known := next(same, None)) is None:
            unequal.append(dict(course))
        else:
            known |= course
    steps = sorted({step for each in unequal for step in each})
    return {step: Point(fmean(each[step] for each in unequal if step in each)) for step in steps}


def _without_solutions(cell: Cell, methods: Mapping[str, Runs]) -> tuple[Any, ...]:
    """What sets cells apart for a run that sees no solution, if none or all have the bonus."""
    return (*scan.alike(cell), steps_of(methods))


def count(found: Found) -> int:
    """How many runs these are: one that sees no solution stands in several cells."""
    return len(
        {(where_run(cell, of, algo), algo, seed) for cell, of in found.items() for algo in of for seed in of[algo]}
    )


def where_run(cell: Cell, methods: Mapping[str, Runs], algo: str) -> object:
    """Equal in two cells that share a method's runs."""
    return _without_solutions(cell, methods) if algo in SEE_NO_SOLUTION else cell


def sets_of_runs(found: Found, algo: str) -> int:
    """In how many cells a method was run; those that share its runs count once."""
    return len({where_run(cell, methods, algo) for cell, methods in found.items() if algo in methods})


def steps_of(methods: Mapping[str, Runs]) -> int:
    """How many steps the runs of reinforcement had: the last that most methods were validated at."""
    lasts = [max(max(of) for of in runs.values()) for algo, runs in methods.items() if algo not in SUPERVISED]
    return max(lasts, key=lasts.count, default=0)


@dataclass(frozen=True)
class Figures:
    """All that the page is drawn from."""

    lab: Found
    real: Found
    variants: Mapping[str, Found]
    """Runs of the lab with other settings, by variant."""
    tasks: Mapping[str, Mapping[str, Runs]]
    """Runs of the lab on other tasks, by task and method."""


def committed() -> Figures:
    """What the repository has."""
    return Figures(of_lab(), of_real(), {name: of_lab(VARIANTS, name) for name in made(VARIANTS)}, of_tasks())


def last(runs: Runs) -> dict[int, float]:
    """By seed, the accuracy at the end."""
    return {seed: of[max(of)].accuracy for seed, of in runs.items()}


def difference(mine: Runs, theirs: Runs) -> Interval | None:
    """95 % over seeds of the difference at the end, paired if both have the same seeds, else Welch's; None where one
    has a single seed."""
    a, b = last(mine), last(theirs)
    same = a.keys() == b.keys()
    found = spread([a[seed] - b[seed] for seed in a]) if same else spread_apart([*a.values()], [*b.values()])
    return t_interval(found) if found else None


def ranked(methods: Mapping[str, Runs]) -> list[tuple[str, str]]:
    """(method, standing) from the best mean on: "best", which several may be; "open" where the difference to it has 0
    in its 95 % over seeds (`difference`); "behind"; "?" where one has a single seed."""
    order = sorted(methods, key=lambda algo: (-fmean(last(methods[algo]).values()), algo))
    best, found = methods[order[0]], []
    for algo in order:
        if fmean(last(methods[algo]).values()) == fmean(last(best).values()):
            found.append((algo, "best"))
            continue
        below = difference(best, methods[algo])
        found.append((algo, "?" if below is None else "behind" if below.low > 0 else "open"))
    return found


def below_best(found: Found) -> dict[str, dict[Cell, float]]:
    """By method, from the smallest mean on: by how much its mean at the end is below the best of each cell that
    anything solves."""
    gaps: dict[str, dict[Cell, float]] = defaultdict(dict)
    for cell, methods in found.items():
        means = {algo: fmean(last(runs).values()) for algo, runs in methods.items()}
        for algo, mean in means.items() if max(means.values()) >= NEAR else ():
            gaps[algo][cell] = max(means.values()) - mean
    return dict(sorted(gaps.items(), key=lambda each: (fmean(each[1].values()), each[0])))


def worst(found: Found) -> str:
    """The cells where uft and uft_adaptive end furthest below the best mean, in a sentence."""
    said, gaps = [], below_best(found)
    for algo in (algo for algo in OURS if algo in gaps):
        cell = max(gaps[algo], key=lambda cell: (gaps[algo][cell], cell))
        means = {name: fmean(last(runs).values()) for name, runs in found[cell].items()}
        best = max(means, key=lambda name: means[name])
        fewest = min(len(found[cell][each]) for each in (algo, best))
        said.append(
            f"{algo} at {cell.title}: {means[algo]:.3f}, {100 * gaps[algo][cell]:.1f} points below {best} "
            f"({means[best]:.3f}; {fewest} seed{'s' * (fewest > 1)})"
        )
    return "; ".join(said)
