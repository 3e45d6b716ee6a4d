"""Pictures of training: hints and the reward by hint length, losses, entropy, KL and answer length."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eval.reporting.curves import draw_hint_share, draw_seeds, grid_of, hinted, styled
from eval.reporting.groups import Group, Panel
from eval.reporting.read_runs import Points, Run, points
from eval.reporting.style import HINT_LENGTHS, across_steps, colour, legend_below
from recipes.common.values import TAKEN_METRICS, TAKEN_TERMS

_COLUMNS = 3
_PARTS = 10
"""Parts of a run over which rewards by hint length are averaged."""


@dataclass(frozen=True)
class Quantity:
    """One small panel."""

    key: str
    title: str
    supervised: bool = False
    """From the supervised stage, over its own steps."""
    from_zero: bool = False
    only_with_hints: bool = False
    """Recorded as 0 if no rollout had a hint."""

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
    Quantity("actor/entropy", "entropy, nats per token", from_zero=True),
    Quantity("actor/kl_loss", "KL to the start (k3), nats per token", from_zero=True),
    Quantity("actor/hint_nll", "NLL of hint tokens, nats", from_zero=True, only_with_hints=True),
    Quantity("uft/gen_tokens", "answer length, tokens", from_zero=True),
    Quantity("uft/truncated", "share of answers cut off", from_zero=True),
    Quantity("actor/grad_norm", "gradient norm", from_zero=True),
    Quantity("reward/parse_fail_rate", "share of unreadable answers", from_zero=True),
    Quantity("train/loss", "supervised loss (train)", supervised=True, from_zero=True),
    Quantity("val/loss", "supervised loss (test)", supervised=True, from_zero=True),
)


_NOT_OWN = {quantity.key for quantity in QUANTITIES} | {f"uft/{name}" for name in TAKEN_METRICS}
_NOT_OWN |= {f"actor/{name}" for name in TAKEN_TERMS} | {"due/grad_norm"}


def own_quantities(groups: Sequence[Group]) -> list[Quantity]:
    """Metrics specific to algorithms: of their schedule and memory, of their loss terms, and of second updates."""
    keys = {key for group in groups for run in group.runs for data in run.metrics.values() for key in data}
    own = sorted(key for key in keys - _NOT_OWN if key.startswith(("uft/", "actor/", "due/")))
    own = [key for key in own if not key.startswith(("uft/score/", "actor/perf/"))]
    return [Quantity("uft/hint_reliance", "hint reliance, nats per token"), *(Quantity(key, key) for key in own)]


def draw_training(panel: Panel, *, narrow: bool = False) -> Any | None:
    """One small panel per quantity that any run recorded; None if there is nothing to draw."""
    known = (*QUANTITIES, *own_quantities(panel.groups))
    present = [quantity for quantity in known if _values(panel.groups, quantity)]
    if not present:
        return None
    figure, cells = grid_of(len(present), _COLUMNS, (3.67, 2.5), narrow=narrow)
    columns = 1 if narrow else min(len(present), _COLUMNS)
    handles: dict[str, Any] = {}
    for number, (quantity, axes) in enumerate(zip(present, cells, strict=True)):
        for group, line in styled(panel.groups):
            curves = [quantity.points(run) for run in group.runs]
            # A chained run's curve equals that of the supervised run with its seed, which must stay visible under it.
            width = 2.6 if quantity.supervised and not axes.lines else 1.3
            drawn = draw_seeds(axes, curves, colour(group.algo), line, width=width)
            if drawn is not None:
                handles[group.label] = drawn
        axes.set_title(quantity.title)
        across_steps(axes, "supervised" if quantity.supervised else "reinforcement")
        if quantity.from_zero:
            axes.set_ylim(min(0, axes.get_ylim()[0]), None)
            # A constant zero would otherwise get a tiny scale around it.
            if max(_values(panel.groups, quantity)) <= 0:
                axes.set_ylim(0, 1)
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-4, 5))
        if number + columns < len(present):
            axes.set_xlabel("")
    legend_below(figure, handles)
    return figure


def _values(groups: Sequence[Group], quantity: Quantity) -> list[float]:
    return [value for group in groups for run in group.runs for value in quantity.points(run)[1]]


def draw_hints(panel: Panel, *, share: bool = True, narrow: bool = False) -> Any | None:
    """How much of the solutions was given (if `share`), and the mean reward by hint length; None without hints."""
    groups = [group for group in panel.groups if hinted(group)]
    if not groups:
        return None
    figure, cells = grid_of(len(groups) + share, _COLUMNS, (3.7, 3.2), least=6.5, narrow=narrow)
    if share:
        given = draw_hint_share(cells[0], panel)
        cells[0].legend(given.values(), given.keys(), fontsize=8.5)
    handles: dict[str, Any] = {}
    for group, axes in zip(groups, cells[int(share) :], strict=True):
        handles |= _reward_by_length(axes, group)
        seeds = f", {group.seeds} seeds" if group.seeds > 1 else ""
        axes.set_title(f"{group.label}{seeds}: reward by hint length")
        across_steps(axes)
        axes.set_ylim(0, 1.03)
    ordered = [_length_name(length) for length in range(len(HINT_LENGTHS))]
    legend_below(figure, {name: handles[name] for name in ordered if name in handles})
    return figure


def _length_name(length: int) -> str:
    return "no hint" if length == 0 else f"{length} segment{'s' if length > 1 else ''}"


def _reward_by_length(axes: Any, group: Group) -> dict[str, Any]:
    """A line per hint length: means over all seeds and a tenth of the run, since a step has few such rollouts."""
    handles = {}
    last = max((run.last_step for run in group.runs), default=1)
    width = max(1, -(-last // _PARTS))
    for length in range(len(HINT_LENGTHS)):
        found: dict[int, list[float]] = defaultdict(list)
        for run in group.runs:
            for step, value in zip(*run.points(f"uft/score/l={length}"), strict=True):
                found[(step - 1) // width].append(value)
        if found:
            middles = [(part + 0.5) * width + 0.5 for part in sorted(found)]
            means = [statistics.fmean(found[part]) for part in sorted(found)]
            style = {"linewidth": 1.4, "marker": "o", "markersize": 3}
            handles[_length_name(length)] = axes.plot(middles, means, color=HINT_LENGTHS[length], **style)[0]
    return handles
