"""`python3 -m bench.study.variants [--until HH:MM] [--dry_run]`: runs of the scan in the lab with settings changed.

The settings that the real loop ran with, to compare the lab with it; controls (another problem's solution, a random
reward); few solutions with more supervised epochs, or without other problems; the same errors in all solutions; hints
without their likelihood; the entropy bonus; and the same three further learning rates for every method. EXPLORATION
(bench/lab); a finished run is one append to results/study/variants.csv.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final

from bench.study.cells import CORE, FAMILY, FEW_SOLUTIONS, FIRST, HARMED, PROBLEMS, SEE_NO_SOLUTION, Cell, Run
from bench.study.scan import HEAD, append, build_base, carry_on, each_line, make, run_of
from recipes import ROOT
from recipes.settings.experiment import Experiment

FILE: Final = ROOT / "results/study/variants.csv"
AS_REAL, SHAM, CHANCE = "as the real loop", "sham hints", "random reward"
NO_LIKELIHOOD: Final = "without the likelihood of hints"
UNLIKELY: Final = (HARMED, Cell(15, 0.4, 0.3), FIRST[0])
"""Where hints are also run without their likelihood: where it does harm, where it may, and where it does good."""
REPEATED: Final = "the same errors in all solutions"
LONGER: Final = "with more supervised epochs"
ALONE: Final = "on the problems with solutions alone"
SCALES: Final = (0.5, 2.0, 4.0)
"""Of the learning rates; the scan has them at 1."""
TUNED: Final = (*CORE, "stage", "luffy", "chord_phi", "relift", "hpt", "prefix_rft")
"""Methods whose learning rates are tried."""


@dataclass(frozen=True)
class Variant:
    """Runs of the scan with `settings` of their own and both learning rates times `rates`."""

    name: str
    runs: tuple[Run, ...]
    settings: Mapping[str, Any]
    rates: float = 1.0
    problems: int = 0
    """The first so many problems, each with a solution; 0 for all, as the cell has them."""

    def of(self, experiment: Experiment) -> Experiment:
        """The scan's experiment, changed."""
        if self.problems:
            data = {**experiment.data_options, "n_train": self.problems}
            experiment = replace(experiment, data_options=data, demonstrations=1.0)
        scaled = {"lr": experiment.lr * self.rates, "sft_lr": experiment.sft_lr * self.rates}
        return replace(experiment, **{**scaled, **self.settings})


def _each(cell: Cell, algos: Iterable[str], seeds: int) -> tuple[Run, ...]:
    return tuple(Run(cell, algo, seed) for seed, algo in product(range(seeds), tuple(algos)))


def _in_each(cells: Sequence[Cell], algos: Sequence[str], seeds: int) -> tuple[Run, ...]:
    return tuple(run for cell in cells for run in _each(cell, algos, seeds))


def _steps(end: int, entropy_coef: float) -> dict[str, Any]:
    quarter = end // 4
    return {"T": end, "T_hint": 3 * end // 5, "test_freq": quarter, "val_size": 128, "entropy_coef": entropy_coef}


def rates(scale: float) -> str:
    """The variant with both learning rates times `scale`."""
    return f"rates x {scale:g}"


def variants() -> list[Variant]:
    """All of them, in the order in which they are made."""
    deep, shallow = FIRST
    taught, learners = ([algo for algo in algos if algo not in SEE_NO_SOLUTION] for algos in (CORE, (*CORE, *FAMILY)))
    repeated = {"demonstration_errors": "repeated"}
    # About as many updates as all solutions give in one epoch.
    lasting = {cell: {"sft_epochs": round(cell.batch / 32 / cell.solved)} for cell in FEW_SOLUTIONS}
    hinted = ("uft", "uft_adaptive", "r3", "adaback", "luffy", "chord_phi", "rft")
    rewarded = [algo for algo in CORE if algo not in ("sft", "dft")]
    return [
        Variant(AS_REAL, _each(deep, ("uft", "rft"), 5), _steps(80, 0.0)),
        Variant(AS_REAL, _each(Cell(10, 0.75, 0.0), ("uft", "rft", "r3"), 5), _steps(60, 0.001)),
        Variant(SHAM, _each(deep, taught, 3), {"hints": "sham"}),
        Variant(CHANCE, _each(deep, rewarded, 3), {"reward": "random"}),
        Variant(REPEATED, _in_each(FIRST, learners, 5), repeated),
        Variant(NO_LIKELIHOOD, _in_each(UNLIKELY, ("uft", "uft_adaptive"), 5), {"sft_loss_coef": 0.0}),
        *(Variant(LONGER, _each(cell, ("sft", "dft", "sft_rft"), 5), more) for cell, more in lasting.items()),
        *(
            Variant(ALONE, _each(cell, hinted, 3), {}, problems=round(cell.solved * PROBLEMS))
            for cell in FEW_SOLUTIONS
            if cell.depth == deep.depth
        ),
        *(Variant(f"entropy_coef {c:g}", _each(shallow, ("rft", "uft"), 4), {"entropy_coef": c}) for c in (0.001, 0.0)),
        *(Variant(rates(scale), _each(deep, TUNED, 2), {}, scale) for scale in SCALES),
    ]


def made(file: Path = FILE) -> dict[str, set[Run]]:
    """The runs that the file has, by variant."""
    found: dict[str, set[Run]] = defaultdict(set)
    if file.exists():
        each_line(file, lambda row: found[row["variant"]].add(run_of(row)))
    return found


def _title(variant: str, run: Run) -> str:
    return f"{variant}: {run.title}"


def _add(variant: Variant, run: Run) -> None:
    build_base(run.cell)
    append([[variant.name, *row] for row in make(run, variant.of)], FILE, ("variant", *HEAD))


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what the file lacks; returns the exit code."""
    every = [(_title(each.name, run), partial(_add, each, run)) for each in variants() for run in each.runs]
    return carry_on(
        "bench.study.variants",
        __doc__,
        every,
        lambda: {_title(name, run) for name, have in made().items() for run in have},
        arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
