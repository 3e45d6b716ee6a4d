"""Accuracy over reinforcement steps, laid out as in the UFT paper: one panel per task, one line per algorithm, the base
and the supervised model as dashed horizontal lines. Seeds: their mean, and a band from lowest to highest.

Published accuracies of the same setting are open diamonds at the right edge, with their reading error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.lines import Line2D

from eval.published import Published, beside
from eval.reporting.groups import Group, Panel
from eval.reporting.read_runs import Points, Run
from eval.reporting.style import BASE_COLOUR, across_steps, colour, dashes, in_turn, legend_below

_COLUMNS = 3
NARROW = 4.6
"""Width of a picture for a phone in inches, such that its text has the size of the page's."""
_DIAMOND = {"marker": "D", "markersize": 6, "markerfacecolor": "none", "markeredgewidth": 1.5, "linestyle": "none"}


def draw_curves(panels: Sequence[Panel], title: str, *, narrow: bool = False) -> Any:
    """The figure of accuracies; with a single panel, also how much of the solutions was given.

    narrow: for a phone, with all panels below each other and without the title, which the page has.
    """
    hints = len(panels) == 1 and has_hints(panels[0])
    if hints and not narrow:
        figure, cells = plt.subplots(1, 2, figsize=(11, 4.1), width_ratios=[2, 1])
    else:
        figure, cells = grid_of(len(panels) + hints, _COLUMNS, (4.3, 3.7), least=6.5, narrow=narrow)
    handles: dict[str, Any] = {}
    for panel, axes in zip(panels, cells, strict=False):
        handles |= draw_accuracy(axes, panel)
        several = len(panels) > 1 or panel.title.lower() not in title.lower()
        axes.set_title(f"{panel.title}, {seeds_of(panel)}" if several else seeds_of(panel))
    if hints:
        draw_hint_share(cells[1], panels[0])
    if not narrow:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    legend_below(figure, handles)
    return figure


def grid_of(
    count: int, columns: int, size: tuple[float, float], *, least: float = 0.0, narrow: bool = False
) -> tuple[Any, list[Any]]:
    """A figure of `count` panels of that size in inches, at most `columns` per row; narrow: one per row."""
    columns = 1 if narrow else min(count, columns)
    rows = -(-count // columns)
    width = NARROW if narrow else max(least, size[0] * columns)
    figure, grid = plt.subplots(rows, columns, figsize=(width, size[1] * rows), squeeze=False)
    for empty in grid.flat[count:]:
        empty.set_visible(False)
    return figure, list(grid.flat[:count])


def seeds_of(panel: Panel) -> str:
    """How many seeds the algorithms of a panel have, and what is drawn."""
    counts = sorted({group.seeds for group in panel.groups})
    if counts[-1] == 1:
        return "1 seed"
    return f"mean and range of {counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"


def draw_accuracy(axes: Any, panel: Panel) -> dict[str, Any]:
    """Draw one panel; returns the legend's entries."""
    handles: dict[str, Any] = {}
    if (base := panel.base_accuracy) is not None:
        handles["base model"] = axes.axhline(base, color=BASE_COLOUR, linestyle=(0, (4, 3)), linewidth=1.5)
    last_step = max(
        (run.last_step for group in panel.groups for run in group.runs if not run.only_supervised), default=0
    )
    published: list[tuple[Published, str]] = []
    flat = [group.label for group in panel.groups if all(run.only_supervised for run in group.runs)]
    for group, line in styled(panel.groups):
        if group.label in flat:
            last = [values[-1] for run in group.runs if (values := run.points("val/acc")[1])]
            if last:
                mean = sum(last) / len(last)
                style = {"linestyle": in_turn(flat.index(group.label), len(flat)), "linewidth": 1.5}
                handles[f"{group.label} (end)"] = axes.axhline(mean, color=colour(group.algo), **style)
                if len(last) > 1:
                    axes.axhspan(min(last), max(last), color=colour(group.algo), alpha=0.12, linewidth=0)
        elif (drawn := draw_group(axes, group, "val/acc", line)) is not None:
            handles[group.label] = drawn
        published += [(entry, group.algo) for entry in final(group.runs[0])]
    for number, (entry, algo) in enumerate(published):
        _mark(axes, entry, colour(algo), last_step, number)
    if published:
        handles["published"] = Line2D([], [], color=BASE_COLOUR, **_DIAMOND)
    across_steps(axes)
    axes.set(ylabel=f"accuracy, {how_drawn(panel.groups)}, no hint")
    # A line along 0 keeps its width.
    axes.set_ylim(-0.015 * axes.get_ylim()[1], None)
    axes.set_xlim(0, (last_step or 1) * (1.06 if published else 1.01))
    return handles


def how_drawn(groups: Sequence[Group]) -> str:
    """How validation answers were generated: "greedy", "sampled", or "greedy or sampled" if runs differ."""
    sampled = {bool(run.settings.get("val_samples")) for group in groups for run in group.runs}
    return " or ".join(word for word, kind in (("greedy", False), ("sampled", True)) if kind in sampled)


def final(run: Run) -> list[Published]:
    """Published accuracies of a run's setting, at the end of training."""
    return [entry for entry in beside(run.settings) if entry.step in (None, run.settings.get("T"))]


def _mark(axes: Any, entry: Published, of: str, last_step: int, number: int) -> None:
    # Next to each other, so that equal numbers stay visible.
    x = (last_step or 1) * (1.015 + 0.008 * (number % 5))
    error = [entry.share_error or 0.0]
    axes.errorbar([x], [entry.share], yerr=error, color=of, elinewidth=1, clip_on=False, zorder=5, **_DIAMOND)


def styled(groups: Sequence[Group]) -> list[tuple[Group, Any]]:
    """Groups with their line style: those with the same colour, mostly settings of one algorithm, differ by dashes."""
    met: Counter[str] = Counter()
    found = []
    for group in groups:
        found.append((group, dashes(met[colour(group.algo)])))
        met[colour(group.algo)] += 1
    return found


def draw_group(axes: Any, group: Group, key: str, line: Any) -> Any:
    """Draw a metric of a group; returns the line, or None if none of its runs recorded it."""
    return draw_seeds(axes, [run.points(key) for run in group.runs], colour(group.algo), line)


def draw_seeds(axes: Any, found: Sequence[Points], of: str, line: Any, *, width: float = 1.8) -> Any:
    """Draw the curves of one or more seeds; returns the line, or None if there are none.

    With several: the mean and the band where all have a value, so that a run that is behind does not distort the mean;
    the others continue as thin lines.
    """
    curves = [curve for curve in found if curve[0]]
    if not curves:
        return None
    if len(curves) == 1:
        marker = {"marker": "o", "markersize": 3} if len(curves[0][0]) == 1 else {}
        return axes.plot(*curves[0], color=of, linestyle=line, linewidth=width, **marker)[0]
    steps, means, lows, highs = band(curves)
    for curve in curves:
        alone = [(step, value) for step, value in zip(*curve, strict=True) if not steps or step >= steps[-1]]
        axes.plot(*zip(*alone, strict=True), color=of, linestyle=line, linewidth=0.8, alpha=0.6)
    axes.fill_between(steps, lows, highs, color=of, alpha=0.15, linewidth=0)
    return axes.plot(steps, means, color=of, linestyle=line, linewidth=width)[0]


def band(curves: Sequence[Points]) -> tuple[list[int], list[float], list[float], list[float]]:
    """The steps that all curves have, with the mean, lowest and highest value at each."""
    by_step = [dict(zip(*curve, strict=True)) for curve in curves]
    steps = sorted(set.intersection(*(set(curve) for curve in by_step)))
    values = [[curve[step] for curve in by_step] for step in steps]
    return steps, [sum(each) / len(each) for each in values], [min(e) for e in values], [max(e) for e in values]


def has_hints(panel: Panel) -> bool:
    """Whether any rollout of the panel started from a hint."""
    return any(hinted(group) for group in panel.groups)


def hinted(group: Group) -> bool:
    """Whether any rollout of the group started from a hint."""
    return any(max(run.points("uft/hint_tokens")[1], default=0) > 0 for run in group.runs)


def draw_hint_share(axes: Any, panel: Panel) -> dict[str, Any]:
    """Draw the share of the solutions that was given, over steps, for algorithms with hints; the legend's entries."""
    drawn = {g.label: draw_group(axes, g, "uft/hint_frac", line) for g, line in styled(panel.groups) if hinted(g)}
    across_steps(axes)
    axes.set(ylabel="part of the solution given", ylim=(0, 1.03))
    axes.set_title("hints")
    return {label: line for label, line in drawn.items() if line is not None}
