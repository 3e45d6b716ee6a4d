"""Methods, cells, variants, lab and real loop beside each other: the study's tables and counted sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean
from typing import Final

from bench.study.cells import CORE, FAMILY, FEW_SOLUTIONS, OTHERS, PROBLEMS, REAL, SEEDS, STEPS, SUPERVISED, Cell
from bench.study.figures import (
    NEAR,
    Found,
    Point,
    Runs,
    below_best,
    difference,
    last,
    ranked,
    sets_of_runs,
    steps_of,
    where_run,
)
from bench.study.maps import FEW
from eval.intervals import spread, spread_apart, t_interval
from eval.reporting.cells import Table

FAR: Final = 0.1
"""Accuracy by which the lab's end is said to differ from the real loop's."""


def table(methods: Mapping[str, Runs]) -> Table:
    """Of one cell: methods from the best on, with the mean over seeds at every validation, range and costs."""
    # Supervised methods count steps of their own.
    clocked = [runs for algo, runs in methods.items() if algo not in SUPERVISED] or [*methods.values()]
    steps = sorted({step for runs in clocked for of in runs.values() for step in of})
    costs = any(p.trained is not None for runs in methods.values() for of in runs.values() for p in of.values())
    head = ("method", "standing", "seeds", *map(str, steps), "last", "lowest to highest", "95 % over seeds")
    rows = []
    for algo, standing in ranked(methods):
        runs, ends = methods[algo], list(last(methods[algo]).values())
        of_seeds = spread(ends)
        shown = t_interval(of_seeds) if of_seeds else None
        row = [algo, standing, str(len(runs))]
        for step in steps:
            there = [of[step].accuracy for of in runs.values() if step in of]
            row.append(f"{fmean(there):.3f}" if len(there) == len(runs) else "")
        row += [f"{fmean(ends):.3f}", f"{min(ends):.3f} to {max(ends):.3f}"]
        row.append(f"{max(shown.low, 0):.3f} to {min(shown.high, 1):.3f}" if shown else "")
        if costs:
            points = [of[max(of)] for of in runs.values()]
            row += [f"{fmean(p.generated or 0 for p in points) / 1000:.0f} k", _thousands(points)]
        rows.append(tuple(row))
    return Table((*head, "generated", "trained on") if costs else head, tuple(rows))


def _thousands(points: list[Point]) -> str:
    return f"{fmean(point.trained or 0 for point in points) / 1000:.0f} k"


def beside(lab: Found, real: Found) -> Table:
    """Lab and real runs of the same settings at the same steps; the lab is apart where Welch's 95 % interval of the
    difference leaves out 0. One in twenty is by chance alone."""
    rows = []
    for cell, methods in sorted(lab.items()):
        for algo, mine in methods.items():
            theirs = real.get(cell, {}).get(algo, {})
            steps = [set.intersection(*map(set, runs.values())) for runs in (mine, theirs) if runs]
            for step in sorted(set.intersection(*steps)) if len(steps) == 2 else ():
                a, b = ([of[step].accuracy for of in runs.values()] for runs in (mine, theirs))
                apart = spread_apart(a, b)
                if apart is None:
                    continue
                found = t_interval(apart)
                rows.append(
                    (
                        *(cell.title, algo, str(step)),
                        *(f"{fmean(each):.3f} ({len(each)})" for each in (a, b)),
                        f"{found.low:+.3f} to {found.high:+.3f}",
                        "within" if found.low <= 0 <= found.high else "apart",
                    )
                )
    head = ("cell", "method", "step", "lab: mean (seeds)", "real: mean (seeds)", "difference, 95 %", "the lab is")
    return Table(head, tuple(rows))


def by_variant(variants: Mapping[str, Found], cell: Cell, *, same_seeds: bool = False) -> Table:
    """Accuracy at the end by method and variant, in a cell: mean, lowest to highest, seeds. Methods that only the
    scan has are skipped; `same_seeds` keeps the seeds that all variants of a method have, and adds the best unless all
    are at 0."""
    ends = {name: {algo: last(runs) for algo, runs in found.get(cell, {}).items()} for name, found in variants.items()}
    count = {algo: sum(algo in methods for methods in ends.values()) for methods in ends.values() for algo in methods}
    rows = []
    for algo in sorted(algo for algo, variants_of in count.items() if variants_of > 1):
        have = {name: methods[algo] for name, methods in ends.items() if algo in methods}
        common = set.intersection(*map(set, have.values())) if same_seeds else None
        means: dict[str, float] = {}
        row = [algo]
        for name in ends:
            values = [value for seed, value in have.get(name, {}).items() if common is None or seed in common]
            if values:
                means[name] = fmean(values)
            row.append(f"{means[name]:.3f} ({min(values):.3f} to {max(values):.3f}; {len(values)})" if values else "")
        best = max(means, key=lambda name: means[name])
        rows.append((*row, best if means[best] else "") if same_seeds else tuple(row))
    return Table(("method", *ends, *(["best"] if same_seeds else [])), tuple(rows))


def by_solutions(found: Found, full: Cell) -> Table:
    """Accuracy at the end by method and number of solutions, in the cells that differ from `full` in nothing else."""
    cells = [cell for cell in (*FEW_SOLUTIONS, full) if cell in found and replace(cell, solved=full.solved) == full]
    return by_variant({f"{cell.solved * PROBLEMS:,.0f} solutions": {full: found[cell]} for cell in cells}, full)


def wins(found: Found, least: int = 1) -> Table:
    """By method with runs of its own in at least so many cells: where its mean is the best or within NEAR of it, and
    furthest below."""
    rows = []
    for algo, of in below_best(found).items():
        if sets_of_runs(found, algo) < least:
            continue
        worst_at = max(of, key=lambda cell: (of[cell], cell))
        near = [sum(gap <= limit for gap in of.values()) for limit in (0, NEAR)]
        below = [f"{100 * gap:.1f}" for gap in (fmean(of.values()), of[worst_at])]
        rows.append((algo, f"{len(of)}", *map(str, near), *below, worst_at.title))
    head = (
        "method",
        "cells",
        "best in",
        f"within {100 * NEAR:.0f} points in",
        "points below the best, mean",
        "most",
        "where",
    )
    return Table(head, tuple(rows))


def paired(found: Found, algo: str) -> Table:
    """By cell with runs of `algo`: by how many points it ends above each method with runs in FEW cells or more, with
    95 % over seeds (`difference`); bold where 0 is outside, "?" with a single seed. Then in how many cells it is."""
    others = [other for other in (*CORE, *OTHERS) if other != algo and sets_of_runs(found, other) >= FEW]
    rows, bold = [], {other: [0, 0] for other in others}
    for cell, methods in sorted(found.items()):
        if algo not in methods:
            continue
        row = [cell.title, str(len(methods[algo]))]
        for other in others:
            gap = difference(methods[algo], methods[other]) if other in methods else None
            if gap is None:
                row.append("?" if other in methods else "")
                continue
            text = f"{100 * gap.mean:+.1f} ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
            settled = not gap.low <= 0 <= gap.high
            row.append(f"**{text}**" if settled else text)
            bold[other][gap.mean < 0] += settled
        rows.append(tuple(row))
    counts = tuple(f"ahead in {above}, behind in {below}" for above, below in bold.values())
    return Table(("cell (points at the end, 95 % over seeds)", "seeds", *others), (*rows, ("all cells", "", *counts)))


def seeds(found: Found) -> str:
    """In how many of the lab's cells all of CORE and FAMILY have all SEEDS, and in how many all have one."""
    numbers = [[len(of.get(algo, ())) for algo in (*CORE, *FAMILY)] for of in found.values()]
    fewer = [each for each in numbers if min(each) < len(SEEDS)]
    return (
        f"In the lab {len(numbers) - len(fewer)} cells have {len(SEEDS)} seeds of each of {len((*CORE, *FAMILY))} "
        f"methods; {len(fewer)} have fewer, {sum({*each} == {1} for each in fewer)} of these a single seed of each."
    )


def against_grpo(found: Found) -> str:
    """In how many cells UFT ends more than NEAR above and below GRPO, what GRPO ends at in the former, and how many
    steps of the solutions are wrong in the latter."""
    ends = {cell: {algo: fmean(last(runs).values()) for algo, runs in of.items()} for cell, of in found.items()}
    pairs = [(cell, of["uft"], of["rft"]) for cell, of in ends.items() if {"uft", "rft"} <= of.keys()]
    above = [rft for _, uft, rft in pairs if uft - rft > NEAR]
    below = [cell.noise for cell, uft, rft in pairs if rft - uft > NEAR]
    return (
        f"UFT ends more than {100 * NEAR:.0f} points above GRPO in {len(above)} of {len(pairs)} cells, where GRPO is "
        f"at {max(above, default=0):.3f} at most; as far below it in {len(below)}, in which at least "
        f"{min(below, default=0):.0%} of the solutions' steps are wrong."
    )


def agreement(lab: Found, real: Found) -> tuple[str, Table]:
    """Ends of lab and real runs in the cells where both had the same number of steps: how near they are, in words, and
    those further apart than FAR, from the furthest on. Cells that share both runs are one pair."""
    pairs: dict[object, tuple[Cell, str, float, float]] = {}
    for cell, methods in sorted(real.items()):
        if cell in REAL or steps_of(methods) != STEPS:
            continue
        for algo in sorted(methods.keys() & lab.get(cell, {}).keys()):
            mine, theirs = (fmean(last(found[cell][algo]).values()) for found in (lab, real))
            pairs[where_run(cell, methods, algo), algo] = (cell, algo, mine, theirs)
    gaps = [abs(mine - theirs) for *_, mine, theirs in pairs.values()]
    near, far = sum(gap <= NEAR for gap in gaps), sum(gap > FAR for gap in gaps)
    low = sum(max(mine, theirs) < NEAR for *_, mine, theirs in pairs.values())
    words = (
        f"{len(pairs)} pairs of a cell and a method with equal settings: the lab's mean at the end is within "
        f"{100 * NEAR:.0f} points of the real loop's in {near}, and more than {100 * FAR:.0f} points away in {far}. "
        f"In {low} both are below {NEAR:g}, where agreeing is easy. The lab validates on 64 problems, "
        "the real loop on 128."
    )
    rows = [
        (cell.title, algo, f"{mine:.3f} ({len(lab[cell][algo])})", f"{theirs:.3f} ({len(real[cell][algo])})")
        for cell, algo, mine, theirs in sorted(pairs.values(), key=lambda pair: (-abs(pair[2] - pair[3]), pair[:2]))
        if abs(mine - theirs) > FAR
    ]
    return words, Table(("cell", "method", "lab: mean (seeds)", "real: mean (seeds)"), tuple(rows))
