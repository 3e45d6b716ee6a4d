"""`python3 -m bench.study.page`: docs/study.md's tables, results/study/index.html and all pictures of the study, from
committed figures alone.

Figures of the lab come from results/study (scan.csv, variants.csv), those of real runs from
results/chain_cpu/validations.csv; no ranking mixes the two. What people wrote into
docs/study.md outside the marks stays.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from bench.study import theory
from bench.study.cells import FIRST
from bench.study.comparisons import (
    FAR,
    against_grpo,
    agreement,
    beside,
    by_solutions,
    by_variant,
    paired,
    seeds,
    table,
    wins,
)
from bench.study.figures import Figures, Found, committed, count, worst
from bench.study.html import OUT, PAGE, as_html
from bench.study.maps import FEW, curves, lab_map, named, real_map
from bench.study.variants import ALONE, AS_REAL, CHANCE, LONGER, NO_LIKELIHOOD, REPEATED, SCALES, SHAM, UNLIKELY, rates
from eval.reporting.cells import Table, markdown
from eval.reporting.style import write_bytes
from recipes import ROOT
from recipes.common.run_dir import write_text

BEGIN, END = "<!-- drawn by bench.study.page -->", "<!-- end of what is drawn -->"


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
