"""The cost of an accuracy: tokens generated, tokens in updates and minutes of training, up to a validation.

Tokens in updates are as counted by the trainer (prompts, hints, answers, demonstrations), including an earlier
supervised stage. Minutes are of training steps, without start-up and validation.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import matplotlib.pyplot as plt

from eval.intervals import spread, student_tail, t_interval
from eval.reporting.cells import Table, markdown, of_columns
from eval.reporting.curves import grid_of, how_drawn, styled
from eval.reporting.groups import Group, Panel
from eval.reporting.pairs import Pair, compare, points, shown_p
from eval.reporting.read_runs import Run, verdicts
from eval.reporting.style import colour, legend_below

Curve = tuple[list[float], list[float]]
"""Cost and accuracy at each validation, ordered by step."""

TOKENS = ("generated", "updates")
EQUAL_COST = (
    "Percentage points after equal numbers of tokens: as many as the run with the fewest has in all, accuracy linear "
    "between validations, on each problem too; the same seeds on both sides. 95 % over both and p are over seeds and "
    "problems, as at the last step; where answers before and after that point were not kept, there is no such interval "
    "and p is over seeds alone (Student's t)."
)
KINDS = {"generated": "million tokens generated", "updates": "million tokens in updates", "minutes": "minutes of steps"}


@dataclass(frozen=True)
class Cost:
    """The cost of a run up to a step; tokens in millions."""

    generated: float
    updates: float
    minutes: float


def costs(run: Run) -> dict[int, Cost]:
    """The cost of a run up to each of its recorded steps."""
    generated, updates, minutes = 0.0, 0.0, 0.0
    if run.metrics is not run.supervised:
        updates += sum(data.get("train/global_tokens", 0.0) for data in run.supervised.values())
        minutes += run.supervised_seconds / 60
    drawn = (run.settings.get("batch_size") or 0) * (run.settings.get("n_rollout") or 0)
    each = run.supervised_seconds / 60 / max(1, sum("train/loss" in data for data in run.metrics.values()))
    found = {}
    for step, data in sorted(run.metrics.items()):
        # The number of answers is recorded, since a run's overrides may change it; older runs lack it.
        generated += data.get("uft/generated", data.get("uft/gen_tokens", 0.0) * drawn)
        updates += data.get("perf/total_num_tokens", 0.0) + data.get("train/global_tokens", 0.0)
        minutes += data.get("timing_s/step", 0.0) / 60 + (each if "train/loss" in data else 0.0)
        found[step] = Cost(generated / 1e6, updates / 1e6, minutes)
    return found


def curve(group: Group, kind: str) -> Curve:
    """Accuracy by cost, means over seeds at the validations they all have, starting from the base model."""
    runs = [(costs(run), dict(zip(*run.points("val/acc"), strict=True))) for run in group.runs]
    steps = sorted(set.intersection(*(set(accuracy) for _, accuracy in runs)))
    found = [
        (
            statistics.fmean(getattr(cost[step], kind) for cost, _ in runs),
            statistics.fmean(acc[step] for _, acc in runs),
        )
        for step in steps
    ]
    base = [run.base_accuracy for run in group.runs]
    if found and found[0][0] > 0 and None not in base:
        # The supervised stage of a chained run comes before its first validation.
        found.insert(0, (0.0, statistics.fmean(value for value in base if value is not None)))
    return [cost for cost, _ in found], [accuracy for _, accuracy in found]


def accuracy_at(found: Curve, cost: float) -> float | None:
    """Accuracy at that cost, linearly interpolated between validations; None outside them."""
    for (left, low), (right, high) in pairwise(zip(*found, strict=True)):
        if left <= cost <= right and left < right:
            return low + (high - low) * (cost - left) / (right - left)
    return None


def mean_up_to(found: Curve, cost: float) -> float | None:
    """The area under the curve from 0 to a cost, as a mean accuracy; None unless the curve covers that range."""
    last = accuracy_at(found, cost)
    if last is None or found[0][0] > 0:
        return None
    points = [(x, y) for x, y in zip(*found, strict=True) if x < cost] + [(cost, last)]
    area = sum((right - left) * (low + high) / 2 for (left, low), (right, high) in pairwise(points))
    return area / cost


def cost_table(panels: Sequence[Panel]) -> Table:
    """The total cost of each group, and its accuracy, at and up to the cost at which the cheapest one ended."""
    columns: dict[str, list[str]] = defaultdict(list)
    for panel in panels:
        for group in panel.groups:
            columns["task"].append(panel.title if len(panels) > 1 else "")
            columns["algorithm"].append(group.label)
            columns["seeds"].append(str(group.seeds))
        for kind, name in KINDS.items():
            curves = [curve(group, kind) for group in panel.groups]
            spent = [max(found[0], default=0.0) for found in curves]
            equal = min((cost for cost in spent if cost > 0), default=0.0)
            for found, cost in zip(curves, spent, strict=True):
                at, mean = (accuracy_at(found, equal), mean_up_to(found, equal)) if cost else (None, None)
                columns[name].append(f"{cost:.3g}" if cost else "")
                columns[f"at equal {kind}"].append("" if at is None else f"{at:.1%}")
                columns[f"mean up to there ({kind})"].append("" if mean is None else f"{mean:.1%}")
    return of_columns(columns)


def equal_cost_table(panels: Sequence[Panel]) -> Table:
    """Differences of runs with the same seed, in percentage points, after equal numbers of tokens: as many as the run
    with the fewest has in all. For pairs of groups with the same seeds, at least two; over seeds, and over problems too
    where answers were kept."""
    columns: dict[str, list[str]] = defaultdict(list)
    found = [(panel, a, b, kind) for panel in panels for a, b in combinations(panel.groups, 2) for kind in TOKENS]
    for panel, a, b, kind in found:
        by_seed = differences_at_equal(a, b, kind)
        over = spread([100 * each for each in by_seed])
        if over is None:
            continue
        interval = t_interval(over)
        columns["compared"].append(f"{panel.title}: " * (len(panels) > 1) + f"{b.label} - {a.label}")
        columns["at equal tokens"].append({"generated": "generated", "updates": "in updates"}[kind])
        columns["difference"].append(f"{over.mean:+.1f}")
        columns["by seed"].append(" ".join(f"{100 * each:+.1f}" for each in by_seed))
        columns["95 % over seeds"].append(f"{interval.low:+.1f} to {interval.high:+.1f}")
        pair = _compared_at_equal(a, b, kind)
        p = student_tail(over.mean / over.error, over.df) if over.error else float(not over.mean)
        columns["95 % over both"].append(points(pair.interval) if pair else "")
        columns["p"].append(shown_p(pair.p if pair else p))
    return of_columns(columns)


def cost_text(panels: Sequence[Panel]) -> str:
    """cost.md."""
    equal = equal_cost_table(panels)
    return markdown(cost_table(panels)) + (f"\n{EQUAL_COST}\n\n{markdown(equal)}" if equal.rows else "")


def differences_at_equal(a: Group, b: Group, kind: str) -> list[float]:
    """b - a by seed; empty unless both have the same seeds, once each, and accuracies there."""
    equal = _least_spent(a, b, kind)
    of_a, of_b = ({run.seed: accuracy_at(_curve_of(run, kind), equal) for run in group.runs} for group in (a, b))
    if not equal or of_a.keys() != of_b.keys() or len(of_a) != len(a.runs) or len(of_b) != len(b.runs):
        return []
    pairs = [(of_a[seed], of_b[seed]) for seed in sorted(of_a, key=str)]
    return [right - left for left, right in pairs if left is not None and right is not None]


def _curve_of(run: Run, kind: str) -> Curve:
    return curve(Group(run.algo, "", (run,)), kind)


def _least_spent(a: Group, b: Group, kind: str) -> float:
    return min(max(_curve_of(run, kind)[0], default=0.0) for run in (*a.runs, *b.runs))


def _compared_at_equal(a: Group, b: Group, kind: str) -> Pair | None:
    """b - a over seeds and problems; None unless all answers before and after that cost were kept, to the same
    problems."""
    equal = _least_spent(a, b, kind)
    of_a, of_b = ({run.seed: verdicts_at_cost(run, kind, equal) for run in group.runs} for group in (a, b))
    if len({frozenset(each) for each in (*of_a.values(), *of_b.values())}) != 1 or not next(iter(of_a.values())):
        return None
    return compare("", of_b, of_a)


def verdicts_at_cost(run: Run, kind: str, cost: float) -> dict[tuple[str, int], float]:
    """The share of correct answers to each problem at a cost, on the line between the validations before and after it;
    empty if their answers were not kept."""
    if run.only_supervised:
        return {}
    spent = costs(run)
    steps = [step for step, _ in zip(*run.points("val/acc"), strict=True)]
    for before, after in pairwise(steps):
        left, right = (getattr(spent[step], kind) for step in (before, after))
        if left <= cost <= right and left < right:
            low, high = verdicts(run, int(before)), verdicts(run, int(after))
            if low.keys() != high.keys():
                return {}
            share = (cost - left) / (right - left)
            return {problem: low[problem] + (high[problem] - low[problem]) * share for problem in low}
    return {}


def draw_costs(panel: Panel, *, narrow: bool = False) -> Any:
    """Accuracy over cost, one panel per kind of cost; None if no run has two validations."""
    figure, cells = grid_of(len(KINDS), len(KINDS), (4, 3.9 if not narrow else 2.8), narrow=narrow)
    handles: dict[str, Any] = {}
    for axes, (kind, name) in zip(cells, KINDS.items(), strict=True):
        for group, line in styled(panel.groups):
            found = curve(group, kind)
            if max(found[0], default=0) > 0:
                marker = {"marker": "o", "markersize": 3}
                handles[group.label] = axes.plot(*found, color=colour(group.algo), linestyle=line, **marker)[0]
        axes.set(xlabel=name, xlim=(0, None), ylim=(0, None))
    if not handles:
        plt.close(figure)
        return None
    cells[0].set_ylabel(f"accuracy, {how_drawn(panel.groups)}, no hint")
    legend_below(figure, handles)
    return figure
