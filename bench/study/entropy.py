"""`python3 -m bench.study.entropy [--seeds N]`: GRPO and uft in the lab where a bare prompt hardly ever brings a right
answer, with the entropy bonus that runs here have and without.

While no two answers of a prompt differ in reward, the bonus alone moves the policy, at the full rate, as Adam divides
by what gradients there are. EXPLORATION (bench/lab); a finished run is one append to results/study/entropy.csv.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Final

from bench.study.cells import Cell, Run
from bench.study.scan import HEAD, append, build_base, make
from recipes import ROOT

FILE: Final = ROOT / "results/study/entropy.csv"
ALGOS: Final = ("rft", "uft")
COEFS: Final = (0.001, 0.0)
CELL: Final = Cell(10, 0.4, 0.1)


def curves(file: Path = FILE) -> dict[tuple[str, float, int], dict[int, float]]:
    """(algo, entropy_coef, seed) -> accuracy by step."""
    found: dict[tuple[str, float, int], dict[int, float]] = defaultdict(dict)
    with file.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            found[row["algo"], float(row["entropy_coef"]), int(row["seed"])][int(row["step"])] = float(row["accuracy"])
    return dict(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what the file lacks; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m bench.study.entropy", description=__doc__)
    parser.add_argument("--seeds", type=int, default=8, metavar="N", help="seeds of each (8)")
    options = parser.parse_args(arguments)
    import torch

    # A run is too small for two cores.
    torch.set_num_threads(1)
    build_base(CELL)
    have = curves() if FILE.exists() else {}
    for seed, algo, coef in product(range(options.seeds), ALGOS, COEFS):
        if (algo, coef, seed) not in have:
            rows = make(Run(CELL, algo, seed), entropy_coef=coef)
            append([[coef, *row] for row in rows], FILE, ("entropy_coef", *HEAD))
            print(f"{algo}, entropy_coef {coef:g}, seed {seed}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
