"""`python3 -m bench.study.twins [--seeds N]`: the lab with settings that the real loop ran, to hold it to that.

Cell, steps, batch, hints, bonus and number of held-out problems are those of the real runs of results/chain_cpu; draws
differ. EXPLORATION (bench/lab); a finished run is one append to results/study/twins.csv.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.study.cells import Cell, Run
from bench.study.scan import append, build_base, made, make
from recipes import ROOT

FILE: Final = ROOT / "results/study/twins.csv"


@dataclass(frozen=True)
class Twin:
    """A cell as the real loop ran it."""

    cell: Cell
    algos: tuple[str, ...]
    settings: dict[str, Any]


TWINS: Final = (
    Twin(
        Cell(15, 0.4, 0.1),
        ("uft", "rft"),
        {"T": 80, "T_hint": 48, "test_freq": 20, "val_size": 128, "entropy_coef": 0.0},
    ),
    Twin(
        Cell(10, 0.75, 0.0),
        ("uft", "rft", "r3"),
        {"T": 60, "T_hint": 36, "test_freq": 15, "val_size": 128, "entropy_coef": 0.001},
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what the file lacks; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m bench.study.twins", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="seeds of each (5)")
    options = parser.parse_args(arguments)
    import torch

    # A run is too small for two cores.
    torch.set_num_threads(1)
    have = made(FILE)
    for seed in range(options.seeds):
        for twin in TWINS:
            build_base(twin.cell)
            for run in (Run(twin.cell, algo, seed) for algo in twin.algos):
                if run not in have:
                    append(make(run, **twin.settings), FILE)
                    print(run, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
