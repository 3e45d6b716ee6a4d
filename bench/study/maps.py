"""The study's two pictures: methods by cells in the real loop, and by depth and competence in the lab."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from statistics import fmean
from typing import Final

from bench.study.cells import CORE, FIRST, OTHERS, REAL, Cell
from bench.study.figures import Found, Runs, last, ranked, steps_of
from eval.reporting.style import close, house_style, png, svg

_WIDE: Final = 7
"""Methods beside each other in the lab's map."""

_REAL_TITLE: Final = "the real loop: accuracy at the end"
_LAB_TITLE: Final = "the lab (exploration), after 40 steps: accuracy in percent; a frame marks the best mean of a cell"


def named(cell: Cell, methods: Mapping[str, Runs]) -> str:
    """How tables of the real loop call a cell."""
    return f"{cell.title}, {steps_of(methods)} steps{', bonus .001' if cell in REAL else ''}"


def real_map(real: Found) -> tuple[bytes, str]:
    """The real loop's map as PNG and SVG: methods by cells, mean accuracy at the end; best and open are marked."""
    with house_style():
        import matplotlib.pyplot as plt

        algos = sorted({algo for methods in real.values() for algo in methods})
        cells = sorted(real)
        figure, axis = plt.subplots(figsize=(3 + 1.1 * len(cells), 0.3 * len(algos) + 2.6))
        for x, cell in enumerate(cells):
            for algo, standing in ranked(real[cell]):
                value, y = fmean(last(real[cell][algo]).values()), algos.index(algo)
                axis.scatter(x, y, c=[value], vmin=0, vmax=1, cmap="viridis", marker="s", s=330)
                mark = {"best": "best ", "open": "~ ", "?": "? "}.get(standing, "")
                axis.text(x + 0.14, y, f"{mark}{value:.2f}", va="center", fontsize=8)
        axis.set(title=_REAL_TITLE, xlim=(-0.4, len(cells) - 0.1), xticks=range(len(cells)))
        axis.set_xticklabels([named(cell, real[cell]).replace(", ", "\n") for cell in cells], fontsize=7)
        axis.set_yticks(range(len(algos)), algos)
        axis.grid(False)
        figure.tight_layout()
        drawn = png(figure), svg(figure, "accuracy by method and cell in the real loop")
        close(figure)
    return drawn


def lab_map(lab: Found) -> tuple[bytes, str]:
    """The lab's map as PNG and SVG: a panel per method and quality of solutions, depth by the base's competence; a
    frame is around the best mean of a cell."""
    grid = {cell: methods for cell, methods in lab.items() if cell.solved == 1}
    depths, qs, noises = (sorted({getattr(cell, name) for cell in grid}) for name in ("depth", "q", "noise"))
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
                    methods = grid.get(Cell(depth, q, noise), {})
                    if algo not in methods:
                        continue
                    means = {name: fmean(last(runs).values()) for name, runs in methods.items()}
                    value, first = means[algo], means[algo] == max(means.values())
                    edge = {"edgecolor": "black", "linewidth": 1.6} if first else {"edgecolor": "none"}
                    box = plt.Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, facecolor=plt.cm.viridis(value), **edge)
                    axis.add_patch(box)
                    dark = "white" if value < 0.6 else "black"
                    axis.text(x, y, f"{100 * value:.0f}", ha="center", va="center", fontsize=6, color=dark)
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
