"""The study's pictures: methods by cells in the real loop, and by depth and competence in the lab; curves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from statistics import fmean
from typing import Any, Final

from bench.study.cells import CORE, FIRST, HARMED, OTHERS, REAL, SUPERVISED, Cell
from bench.study.figures import Found, Runs, below_best, last, ranked, sets_of_runs, steps_of
from eval.reporting.style import across_steps, close, colour, house_style, in_turn, png

FEW: Final = 3
"""Methods with runs of their own in fewer cells of the real loop are not ranked over cells."""

_WIDE: Final = 7
"""Methods beside each other in the lab's map."""

_REAL_TITLE: Final = (
    "the real loop: accuracy at the end in percent, small the number of seeds\n"
    "a frame marks the best mean of a cell, a dashed one what its seeds do not tell from it (means may be far apart), "
    "a dotted one a single seed"
)
_LAB_TITLE: Final = (
    "the lab (exploration), after 40 steps: accuracy in percent; small tiles have a single seed\n"
    "a frame marks the best mean of a cell, a dashed one what several seeds do not tell from it"
)
_FRAMES: Final = {"best": "solid", "open": "dashed", "?": "dotted"}


def named(cell: Cell, methods: Mapping[str, Runs]) -> str:
    """How tables of the real loop call a cell."""
    return f"{cell.title}, {steps_of(methods)} steps{', bonus .001' if cell in REAL else ''}"


def _ink(value: float) -> str:
    return "white" if value < 0.6 else "black"


def _tile(axis: Any, x: int, y: int, value: float, frame: str | None, font: int, side: float = 0.92) -> None:
    """A share of right answers, in percent on its color."""
    import matplotlib.pyplot as plt

    edge = {"edgecolor": "black", "linewidth": 1.6, "linestyle": frame} if frame else {"edgecolor": "none"}
    corner = (x - side / 2, y - side / 2)
    axis.add_patch(plt.Rectangle(corner, side, side, facecolor=plt.cm.viridis(value), **edge))
    axis.text(x, y, f"{100 * value:.0f}", ha="center", va="center", fontsize=font, color=_ink(value))


def real_map(real: Found) -> bytes:
    """The real loop's map as PNG: methods by cells, mean accuracy at the end; best and open are marked."""
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
                _tile(axis, x, y, fmean(ends.values()), _FRAMES.get(standing), font=8)
                color = _ink(fmean(ends.values()))
                axis.text(x + 0.42, y - 0.4, len(ends), ha="right", va="bottom", fontsize=6.5, color=color)
        axis.set(xlim=(-0.5, len(cells) - 0.5), ylim=(-0.5, len(algos) - 0.5), xticks=range(len(cells)))
        labels = [re.sub(", | (?=in the same)", "\n", named(cell, real[cell])) for cell in cells]
        axis.set_xticklabels(labels, fontsize=6)
        axis.set_yticks(range(len(algos)), algos, fontsize=8)
        axis.grid(False)
        figure.suptitle(_REAL_TITLE, fontsize=9)
        figure.tight_layout()
        drawn = png(figure)
        close(figure)
    return drawn


def lab_map(lab: Found) -> bytes:
    """The lab's map as PNG: a panel per method and quality of solutions, depth by the base's competence."""
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
                    ends = last(grid[cell][algo])
                    _tile(axis, x, y, fmean(ends.values()), frame, font=6, side=0.92 if len(ends) > 1 else 0.66)
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
        drawn = png(figure)
        close(figure)
    return drawn


CURVES: Final = {
    "all solutions share their errors": replace(FIRST[0], repeated=True),
    "a tenth of the steps wrong at random": FIRST[0],
    "hints do harm": HARMED,
}
"""Cells whose curves are drawn, by what sets them apart."""


def curves(real: Found) -> bytes:
    """Accuracy by step in three cells of the real loop as PNG: means with a band from lowest to highest seed, of
    methods with three seeds; the ends of supervised methods as dashed lines."""
    with house_style():
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(1, len(CURVES), figsize=(14, 4.2), sharey=True, squeeze=False)
        for axis, (title, cell) in zip(axes[0], CURVES.items(), strict=True):
            methods = {algo: runs for algo, runs in real.get(cell, {}).items() if len(runs) >= FEW}
            ends: list[tuple[float, str]] = []
            for algo in sorted(methods):
                runs = methods[algo]
                mean = fmean(last(runs).values())
                ends.append((mean, algo))
                if algo in SUPERVISED:
                    flat: list[str] = [each for each in SUPERVISED if each in methods]
                    line = in_turn(flat.index(algo), len(flat))
                    axis.plot([0, steps_of(methods)], [mean, mean], linestyle=line, color=colour(algo), linewidth=1.4)
                    continue
                steps = sorted(set.intersection(*map(set, runs.values())))
                at = [[of[step].accuracy for of in runs.values()] for step in steps]
                axis.plot(steps, [fmean(each) for each in at], color=colour(algo))
                axis.fill_between(steps, [*map(min, at)], [*map(max, at)], color=colour(algo), alpha=0.12, linewidth=0)
            across_steps(axis)
            axis.set(title=f"{title}\n{cell.title}", ylim=(-0.02, 1.02), xlim=(0, max(steps_of(methods), 1)))
            _label_ends(axis, steps_of(methods), ends)
        axes[0][0].set_ylabel("accuracy without hints")
        figure.tight_layout()
        drawn = png(figure)
        close(figure)
    return drawn


def _label_ends(axis: Any, x: int, ends: list[tuple[float, str]]) -> None:
    """Names beside the ends of lines, pushed apart where they would overlap, each with a line to its own."""
    height = 0.055
    at = height * -1.0
    for number, (value, algo) in enumerate(sorted(ends)):
        # As high as its line, but above the one before and with room for those that follow.
        at = min(max(value, at + height), 1 - height * (len(ends) - 1 - number))
        own = {"color": colour(algo)}
        thin = {"arrowstyle": "-", "linewidth": 0.7, "shrinkA": 1, "shrinkB": 0, "relpos": (0, 0.5)} | own
        beside = {"fontsize": 8, "va": "center", "annotation_clip": False} | own
        axis.annotate(algo, (x, value), (1.07 * x, at), arrowprops=thin, **beside)
