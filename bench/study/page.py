"""`python3 -m bench.study.page`: docs/study.md's tables, results/study/index.html and all pictures of the study, from
committed figures alone.

Figures of the lab come from results/study (scan.csv, variants.csv), those of real runs from
results/chain_cpu/validations.csv; no ranking mixes the two. What people wrote into
docs/study.md outside the marks stays.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Final

from bench.study import theory
from bench.study.cells import CORE, FAMILY, FEW_SOLUTIONS, FIRST, OTHERS, PROBLEMS, REAL, SEEDS, STEPS, SUPERVISED, Cell
from bench.study.figures import (
    NEAR,
    Figures,
    Found,
    Point,
    Runs,
    below_best,
    committed,
    count,
    difference,
    last,
    ranked,
    sets_of_runs,
    steps_of,
    where_run,
    worst,
)
from bench.study.html import OUT, PAGE, as_html
from bench.study.maps import FEW, curves, lab_map, named, real_map
from bench.study.variants import ALONE, AS_REAL, CHANCE, LONGER, NO_LIKELIHOOD, REPEATED, SCALES, SHAM, UNLIKELY, rates
from eval.intervals import spread, spread_apart, t_interval
from eval.reporting.cells import Table, markdown
from eval.reporting.style import write_bytes
from recipes import ROOT
from recipes.common.run_dir import write_text

FAR: Final = 0.1
"""Accuracy by which the lab's end is said to differ from the real loop's."""

BEGIN, END = "<!-- drawn by bench.study.page -->", "<!-- end of what is drawn -->"


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
    """In how many of the lab's cells all of CORE and FAMILY have all SEEDS, and in how many of the others all have one
    at most."""
    numbers = [[len(of.get(algo, ())) for algo in (*CORE, *FAMILY)] for of in found.values()]
    fewer = [each for each in numbers if min(each) < len(SEEDS)]
    return (
        f"In the lab {len(numbers) - len(fewer)} cells have {len(SEEDS)} seeds of each of {len((*CORE, *FAMILY))} "
        f"methods, {len(fewer)} fewer, {sum(max(each) <= 1 for each in fewer)} of them a single one."
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


def sections(figures: Figures) -> list[tuple[str, Table | str]]:
    """What both pages show, in order: titles with a table or words. The lab's cells are `of_cells`."""
    lab, real = figures.lab, figures.real
    parts: list[tuple[str, Table | str]] = [
        ("Worst cells of uft and uft_adaptive", f"Real loop: {worst(real)}.\n\nLab (exploration): {worst(lab)}."),
        (
            "How much there is",
            f"{count(real)} real runs in {len(real)} cells; {count(lab)} runs of the lab in {len(lab)}. A run that "
            f"sees no solution stands in several cells and counts once. {seeds(lab)}",
        ),
        ("LAB, exploration: UFT and GRPO", against_grpo(lab)),
    ]
    parts += [
        (f"{which}: how far below the best of each cell, methods in three cells or more", wins(found, least=FEW))
        for which, found in (("Real loop", real), ("LAB, exploration", lab))
    ]
    parts += [("Real loop: uft_adaptive less each method in three cells or more", paired(real, "uft_adaptive"))]
    parts += [(f"Real loop: {named(cell, methods)}", table(methods)) for cell, methods in sorted(real.items())]
    near, far = agreement(lab, real)
    parts += [("Does the lab say what the real loop says?", near)]
    parts += [(f"Lab and real loop, ends more than {100 * FAR:.0f} points apart", far)]
    parts += [(f"LAB, exploration: {task}", table(methods)) for task, methods in figures.tasks.items()]
    alike = {"random errors": lab, REPEATED: figures.variants.get(REPEATED, {})}
    unlikely = {"as it is": lab, NO_LIKELIHOOD: figures.variants.get(NO_LIKELIHOOD, {})}
    controls = {"as it is": lab} | {name: figures.variants.get(name, {}) for name in (SHAM, CHANCE)}
    scaled = {
        rates(scale): lab if scale == 1 else figures.variants.get(rates(scale), {}) for scale in sorted((1, *SCALES))
    }
    return [
        *parts,
        *(
            (f"LAB, exploration: fewer solutions at {cell.title}{', ' * bool(how)}{how}", by_solutions(found, cell))
            for cell in FIRST
            for how, found in (("", lab), *((name, figures.variants.get(name, {})) for name in (LONGER, ALONE)))
        ),
        *((f"LAB, exploration: {cell.title}, and {REPEATED}", by_variant(alike, cell)) for cell in FIRST),
        *((f"LAB, exploration: hints at {cell.title}", by_variant(unlikely, cell)) for cell in UNLIKELY),
        (f"LAB, exploration: controls at {FIRST[0].title}", by_variant(controls, FIRST[0])),
        (f"LAB, exploration: learning rates at {FIRST[0].title}", by_variant(scaled, FIRST[0], same_seeds=True)),
        ("The lab beside the real loop, same settings", beside(figures.variants.get(AS_REAL, {}), real)),
    ]


def of_cells(lab: Found) -> list[tuple[str, Table | str]]:
    """The lab's tables, a cell each: too many for a page to read, so that index.html alone has them."""
    return [(f"LAB, exploration: {cell.title}", table(methods)) for cell, methods in sorted(lab.items())]


def tables(parts: Sequence[tuple[str, Table | str]]) -> str:
    """Titles with tables or words, as Markdown; a table without rows is left out."""
    shown = [(title, part if isinstance(part, str) else markdown(part)) for title, part in parts if _has_rows(part)]
    return "\n\n".join(f"## {title}\n\n{part}" for title, part in shown)


def _has_rows(part: Table | str) -> bool:
    return isinstance(part, str) or bool(part.rows)


def drawn(figures: Figures) -> str:
    """What stands between the marks of docs/study.md."""
    return tables(sections(figures))


def redrawn(page: str, text: str) -> str:
    """The page with this text between its marks. Raises ValueError unless it has each once, in their order."""
    before, begins, rest = page.partition(BEGIN)
    _, ends, after = rest.partition(END)
    if not begins or not ends or BEGIN in rest or END in before + after:
        raise ValueError(f"{PAGE}: needs one line {BEGIN}, and after it one line {END}: text outside them stays")
    return f"{before}{BEGIN}\n\n{text.rstrip()}\n\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws everything anew; returns the exit code."""
    parser = ArgumentParser(prog="python3 -m bench.study.page", description=__doc__)
    parser.parse_args(arguments)
    try:
        figures = committed()
        page = redrawn(PAGE.read_text(encoding="utf-8"), drawn(figures))
    except (ValueError, OSError) as error:
        parser.error(str(error))
    html = as_html(f"{page}\n\n{tables(of_cells(figures.lab))}\n")
    pictures = {"map": real_map(figures.real), "lab_map": lab_map(figures.lab), "curves": curves(figures.real)}
    try:
        write_text(OUT / "index.html", html)
        for name, picture in pictures.items():
            write_bytes(OUT / f"{name}.png", picture)
        theory.main([])
        write_text(PAGE, page)
    except OSError as error:
        parser.error(str(error))
    print(f"drawn: {PAGE.relative_to(ROOT)}, {OUT.relative_to(ROOT)}/index.html and its pictures")
    return 0


if __name__ == "__main__":
    sys.exit(main())
