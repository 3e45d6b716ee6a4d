"""Pictures of what happened in training: hints and the reward they bring, losses, entropy, KL and answer length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt

from eval.reporting.curves import draw_hint_share, draw_seeds, hinted, styled
from eval.reporting.groups import Group, Panel
from eval.reporting.read_runs import Points, Run, points
from eval.reporting.style import HINT_LENGTHS, colour, legend_below

_COLUMNS = 3
_MOST_DOTS = 80


@dataclass(frozen=True)
class Quantity:
    """One small panel."""

    key: str
    title: str
    supervised: bool = False
    """Of the supervised stage, over its own steps."""
    from_zero: bool = False
    only_with_hints: bool = False
    """Recorded as 0 where no rollout had a hint."""

    def points(self, run: Run) -> Points:
        """Steps and values of one run."""
        metrics = run.supervised if self.supervised else run.metrics
        if self.only_with_hints:
            metrics = {step: data for step, data in metrics.items() if data.get("uft/hint_tokens", 0) > 0}
        return points(metrics, self.key)


QUANTITIES = (
    Quantity("critic/score/mean", "reward of training rollouts", from_zero=True),
    Quantity("uft/score/l=0", "... of those without hint", from_zero=True),
    Quantity("actor/pg_loss", "policy gradient loss"),
    Quantity("actor/entropy", "entropy, nats a token", from_zero=True),
    Quantity("actor/kl_loss", "KL to the start (k3), nats a token", from_zero=True),
    Quantity("actor/hint_nll", "NLL of hint tokens, nats", from_zero=True, only_with_hints=True),
    Quantity("uft/gen_tokens", "answer length, tokens", from_zero=True),
    Quantity("uft/truncated", "share of answers cut off", from_zero=True),
    Quantity("actor/grad_norm", "gradient norm", from_zero=True),
    Quantity("reward/parse_fail_rate", "share of unreadable answers", from_zero=True),
    Quantity("train/loss", "supervised loss (train)", supervised=True, from_zero=True),
    Quantity("val/loss", "supervised loss (test)", supervised=True, from_zero=True),
)


def draw_training(panel: Panel) -> Any | None:
    """One small panel a quantity that any run recorded; None when there is nothing to draw."""
    present = [quantity for quantity in QUANTITIES if _values(panel.groups, quantity)]
    if not present:
        return None
    rows = -(-len(present) // _COLUMNS)
    figure, grid = plt.subplots(rows, _COLUMNS, figsize=(11, 2.5 * rows), squeeze=False)
    handles: dict[str, Any] = {}
    for quantity, axes in zip(present, grid.flat, strict=False):
        for group, line in styled(panel.groups):
            curves = [quantity.points(run) for run in group.runs]
            # A chained run has the very curve of a supervised run with its seed: the first one stays visible under it.
            width = 2.6 if quantity.supervised and not axes.lines else 1.3
            drawn = draw_seeds(axes, curves, colour(group.algo), line, width=width)
            if drawn is not None:
                handles[group.label] = drawn
        axes.set_title(quantity.title)
        axes.set_xlim(0, None)
        if quantity.from_zero:
            axes.set_ylim(min(0, axes.get_ylim()[0]), None)
            # A curve at zero all the way would otherwise get a scale of its own around it.
            if max(_values(panel.groups, quantity)) <= 0:
                axes.set_ylim(0, 1)
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-4, 5))
    for axes in grid.flat[len(present) :]:
        axes.set_visible(False)
    for column in range(_COLUMNS):
        lowest = max((row for row in range(rows) if row * _COLUMNS + column < len(present)), default=None)
        if lowest is not None:
            quantity = present[lowest * _COLUMNS + column]
            grid[lowest][column].set_xlabel("supervised step" if quantity.supervised else "reinforcement step")
    legend_below(figure, handles)
    return figure


def _values(groups: Sequence[Group], quantity: Quantity) -> list[float]:
    return [value for group in groups for run in group.runs for value in quantity.points(run)[1]]


def draw_hints(panel: Panel) -> Any | None:
    """How much was given, and the mean reward by length of the hint; None when nobody got any."""
    groups = [group for group in panel.groups if hinted(group)]
    if not groups:
        return None
    cells = 1 + len(groups)
    columns = min(cells, _COLUMNS)
    rows = -(-cells // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(3.7 * columns, 3.2 * rows), squeeze=False)
    handles = draw_hint_share(grid.flat[0], panel)
    for group, axes in zip(groups, grid.flat[1:], strict=False):
        handles |= _reward_by_length(axes, group)
        axes.set_title(f"{group.label}: reward by hint length")
        axes.set(xlabel="reinforcement step", ylim=(0, 1.03), xlim=(0, None))
    for axes in grid.flat[cells:]:
        axes.set_visible(False)
    legend_below(figure, handles)
    return figure


def _reward_by_length(axes: Any, group: Group) -> dict[str, Any]:
    handles = {}
    for length in range(len(HINT_LENGTHS)):
        curves = [run.points(f"uft/score/l={length}") for run in group.runs]
        for curve in curves:
            if curve[0]:
                name = "no hint" if length == 0 else f"{length} segment{'s' if length > 1 else ''}"
                # A step may have no rollout of a length: dots show which had, as long as they can be told apart.
                dot = "o" if len(curve[0]) <= _MOST_DOTS else None
                style = {"linewidth": 1, "marker": dot, "markersize": 2.2, "alpha": 0.9}
                handles[name] = axes.plot(*curve, color=HINT_LENGTHS[length], **style)[0]
    return handles
