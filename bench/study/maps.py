"""The study's two pictures: methods by cells in the real loop, and by depth and competence in the lab."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from statistics import fmean
from typing import Any, Final

from bench.study.cells import CORE, FIRST, OTHERS, REAL, Cell
from bench.study.figures import Found, Runs, below_best, last, ranked, sets_of_runs, steps_of
from eval.reporting.style import close, house_style, png, svg

FEW: Final = 3
"""Methods with runs of their own in fewer cells of the real loop are not ranked over cells."""

_WIDE: Final = 7
"""Methods beside each other in the lab's map."""

_REAL_TITLE: Final = (
    "the real loop: accuracy at the end in percent, small the number of seeds; "
    "a frame marks the best mean of a cell, a dashed one what seeds do not tell from it, a dotted one too few seeds"
)
_LAB_TITLE: Final = (
    "the lab (exploration), after 40 steps: accuracy in percent; a frame marks the best mean of a cell, a dashed one "
    "what seeds do not tell from it (none where there is one seed)"
)
_FRAMES: Final = {"best": "solid", "open": "dashed", "?": "dotted"}


def named(cell: Cell, methods: Mapping[str, Runs]) -> str:
    """How tables of the real loop call a cell."""
    return f"{cell.title}, {steps_of(methods)} steps{', bonus .001' if cell in REAL else ''}"


def _ink(value: float) -> str:
    return "white" if value < 0.6 else "black"


def _tile(axis: Any, x: int, y: int, value: float, frame: str | None, size: int) -> None:
    """A share of right answers, in percent on its color."""
    import matplotlib.pyplot as plt

    edge = {"edgecolor": "black", "linewidth": 1.6, "linestyle": frame} if frame else {"edgecolor": "none"}
    axis.add_patch(plt.Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, facecolor=plt.cm.viridis(value), **edge))
    axis.text(x, y, f"{100 * value:.0f}", ha="center", va="center", fontsize=size, color=_ink(value))


def real_map(real: Found) -> tuple[bytes, str]:
    """The real loop's map as PNG and SVG: methods by cells, mean accuracy at the end; best and open are marked."""
    with house_style():
        import matplotlib.pyplot as plt

        cells = sorted(real)
        order = below_best(real)
        # In a picture with gaps, what was run in few cells comes last.
        algos = sorted(
            order, key=lambda algo: (sets_of_runs(real, algo) < FEW, fmean(order[algo].values()), algo), reverse=True
        )
        figure, axis = plt.subplots(figsize=(2.2 + 0.78 * len(cells), 0.3 * len(algos) + 1.8))
        for x, cell in enumerate(cells):
            for algo, standing in ranked(real[cell]):
                ends, y = last(real[cell][algo]), algos.index(algo)
                _tile(axis, x, y, fmean(ends.values()), _FRAMES.get(standing), size=8)
                color = _ink(fmean(ends.values()))
                axis.text(x + 0.42, y - 0.4, len(ends), ha="right", va="bottom", fontsize=5, color=color)
        axis.set(xlim=(-0.5, len(cells) - 0.5), ylim=(-0.5, len(algos) - 0.5), xticks=range(len(cells)))
        labels = [re.sub(", | (?=in the same)", "\n", named(cell, real[cell])) for cell in cells]
        axis.set_xticklabels(labels, fontsize=6)
        axis.set_yticks(range(len(algos)), algos, fontsize=8)
        axis.grid(False)
        figure.suptitle(_REAL_TITLE, fontsize=9)
        figure.tight_layout()
        drawn = png(figure), svg(figure, "accuracy by method and cell in the real loop")
        close(figure)
    return drawn


def lab_map(lab: Found) -> tuple[bytes, str]:
    """The lab's map as PNG and SVG: a panel per method and quality of solutions, depth by the base's competence; a
    frame is around the best mean of a cell, a dashed one around what several seeds do not tell from it."""
    grid = {cell: methods for cell, methods in lab.items() if cell.solved == 1}
    depths, qs, noises = (sorted({getattr(cell, name) for cell in grid}) for name in ("depth", "q", "noise"))
    standings = {cell: dict(ranked(methods)) for cell, methods in grid.items()}
    algos = [algo for algo in (*CORE, *OTHERS) if sum(algo in methods for methods in grid.values()) > len(FIRST)]
    with house_style():
        import matplotlib.pyplot as plt

        blocks = [algos[at : at + _WIDE] for at in range(0, len(algos), _WIDE)]
        wide, high = min(_WIDE, len(algos)), len(blocks) * len(noises)
        figure, axes = plt.subplots(high, wide, figsize=(1.4 + 1.5 * wide, 0.9 + 1.4 * high), squeeze=False)
        for axis in axes.flat:
            axis.set_axis_off()
        for row, (block, noise) in enumerate(product(blocks, noises)):
            for column, algo in enumerate(block):
                axis = axes[row, column]
                axis.set_axis_on()
                for (x, q), (y, depth) in product(enumerate(qs), enumerate(depths)):
                    cell = Cell(depth, q, noise)
                    if algo not in grid.get(cell, {}):
                        continue
                    standing = standings[cell][algo]
                    frame = None if standing == "?" else _FRAMES.get(standing)
                    _tile(axis, x, y, fmean(last(grid[cell][algo]).values()), frame, size=6)
                axis.set(xlim=(-0.5, len(qs) - 0.5), ylim=(-0.5, len(depths) - 0.5))
                axis.set_xticks(range(len(qs)), [f"{q:g}" for q in qs], fontsize=6)
                axis.set_yticks(range(len(depths)), depths, fontsize=6)
                axis.grid(False)
                if noise == noises[0]:
                    axis.set_title(algo, fontsize=8)
                if column == 0:
                    axis.set_ylabel(f"{noise:.0%} wrong\ndepth", fontsize=7)
                if noise == noises[-1]:
                    axis.set_xlabel("q", fontsize=7)
        figure.suptitle(_LAB_TITLE, fontsize=9)
        figure.tight_layout()
        drawn = png(figure), svg(figure, "accuracy by method, depth, competence and quality of solutions in the lab")
        close(figure)
    return drawn
