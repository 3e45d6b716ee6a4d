"""What the scan asks: cells of depth, the base's competence and the quality of solutions, methods, and one compute."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Final

from recipes import ROOT

CORE: Final = ("uft", "uft_adaptive", "rft", "sft_rft", "r3", "sft", "adaback", "dft")
"""Made first in every cell: those that the paired statement is about, and supervision alone."""

FAMILY: Final = ("max_rl", "luffy", "chord_phi", "relift", "prefix_rft", "hpt")
"""Made next: with them, a cell has fourteen methods."""

OTHERS: Final = (*FAMILY, "stage", "dr_grpo", "chord_mu", "srft", "rlsd", "opsd", "sdpo")
SEE_NO_SOLUTION: Final = ("rft", "max_rl", "dr_grpo", "sdpo")
"""Cells that differ in their solutions are one to these."""

SUPERVISED: Final = ("sft", "dft")
"""These count steps of their own: an epoch over the solutions."""

STEPS: Final = 40
SEEDS: Final = range(5)
PROBLEMS: Final = 4096
ROLLOUTS: Final = 128
"""Per step: those of a cell's problems."""


@dataclass(frozen=True, order=True)
class Cell:
    """depth: steps of a chain. q: probability with which the base follows the rule (a step is right with
    q + (1 - q) / 4). noise: probability that a step of a solution is wrong. solved: share of problems with one.
    repeated: whether all solutions make the same errors."""

    depth: int
    q: float
    noise: float
    solved: float = 1.0
    repeated: bool = False

    @property
    def title(self) -> str:
        """How tables call it."""
        few = "" if self.solved == 1 else f", about {round(self.solved * PROBLEMS)} solutions"
        same = " in the same way" if self.repeated else ""
        return f"depth {self.depth}, q {self.q:g}, {self.noise:.0%} wrong{same}{few}"

    @property
    def batch(self) -> int:
        """Problems per step: fewer where the solutions would not fill a supervised step."""
        return 32 if self.solved * PROBLEMS > 32 else 8

    @property
    def base(self) -> Path:
        """The base model's folder: an embedded one, or where the scan builds it."""
        name = f"tiny-chain-q{round(100 * self.q)}"
        embedded = ROOT / "models" / name
        return embedded if embedded.exists() else ROOT / "out/study/bases" / name


@dataclass(frozen=True)
class Run:
    """One run of the lab."""

    cell: Cell
    algo: str
    seed: int

    @property
    def title(self) -> str:
        """How lists call it."""
        return f"{self.cell.title}: {self.algo}, seed {self.seed}"


REAL: Final = (Cell(10, 0.4, 0.1), Cell(10, 0.75, 0.0), Cell(10, 0.4, 0.3), Cell(10, 0.4, 0.0))
"""The cells that results/chain_cpu has real runs of with the entropy bonus of .001."""

HARMED: Final = Cell(20, 0.75, 0.3)
"""The cell where solutions do harm: GRPO learns without them, and most methods that read them end at 0."""

BESIDE: Final = (
    *(Cell(15, 0.4, 0.3), Cell(20, 0.4, 0.1), Cell(20, 0.75, 0.0), Cell(20, 0.75, 0.1)),
    *(Cell(6, 0.4, 0.3), Cell(10, 0.75, 0.3), Cell(15, 0.75, 0.3)),
)
"""The other cells with random errors that results/chain_cpu has real runs of, ten methods each."""

FIRST: Final = (Cell(15, 0.4, 0.1), Cell(10, 0.4, 0.1))
"""The cells made first, with every method and three seeds: GRPO fails in one and learns in the other."""

FEW_SOLUTIONS: Final = tuple(replace(cell, solved=count / PROBLEMS) for cell in FIRST for count in (16, 64, 256, 1024))
"""Problems are as many as everywhere; the others have no solution."""

WITH_REAL: Final = tuple(dict.fromkeys((*FIRST, *REAL, HARMED, *BESIDE)))
"""All cells that have runs in the lab and in the real loop."""


def _rank(cell: Cell) -> int:
    return WITH_REAL.index(cell) if cell in WITH_REAL else len(WITH_REAL) + (cell not in FEW_SOLUTIONS)


def cells() -> list[Cell]:
    """All 68 cells: FIRST, then those with real runs, then those with few solutions, then the others by depth."""
    grid = [Cell(*each) for each in product((6, 10, 15, 20), (0.25, 0.4, 0.55, 0.75, 0.9), (0.0, 0.1, 0.3))]
    return sorted((*FEW_SOLUTIONS, *grid), key=_rank)


def runs() -> list[Run]:
    """All runs in the order in which they are made: seeds of two cells, then five of fourteen methods where there are
    real runs, then cell by cell, then the other methods."""
    first = [Run(cell, algo, seed) for seed in SEEDS[:3] for cell in FIRST for algo in (*CORE, *OTHERS)]
    first += [Run(cell, algo, seed) for seed in SEEDS[:3] for cell in (*REAL, HARMED) for algo in CORE]
    first += [Run(cell, algo, seed) for seed in SEEDS for cell in WITH_REAL for algo in (*CORE, *FAMILY)]
    rest = [
        Run(cell, algo, seed)
        for methods in ((*CORE, *FAMILY), OTHERS)
        for cell in cells()
        for seed in SEEDS
        for algo in methods
    ]
    return list(dict.fromkeys(first + rest))


def flags_of(cell: Cell, seed: int) -> list[str]:
    """Flags of a sweep over all methods of a cell."""
    given = {
        "algo": ",".join((*CORE, *OTHERS)),
        "data": "chain",
        "model": cell.base,
        "depth": cell.depth,
        "n_train": PROBLEMS,
        "demonstration_noise": cell.noise,
        "demonstrations": cell.solved,
        "batch_size": cell.batch,
        "n_rollout": ROLLOUTS // cell.batch,
        # The bonus alone decides whether GRPO learns where right answers are rare (results/chain_cpu/entropy0).
        "entropy_coef": 0,
        "T": STEPS,
        "T_hint": round(0.6 * STEPS),
        "test_freq": STEPS // 4,
        "val_samples": 4,
        "val_size": 64,
        "seeds": seed,
    }
    at_default = {"demonstration_noise": 0.0, "demonstrations": 1.0, "batch_size": 32, "n_rollout": 4}
    return [
        text for name, value in given.items() if at_default.get(name) != value for text in (f"--{name}", f"{value}")
    ]
