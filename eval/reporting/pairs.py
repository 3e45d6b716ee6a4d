"""Pairwise comparisons of algorithms on the same problems: would other seeds and problems show the difference too?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from eval.intervals import (
    Interval,
    Spread,
    holm,
    mcnemar,
    of_differences,
    over_both,
    p_value,
    paired,
    spread,
    spread_apart,
    t_interval,
)
from eval.reporting.cells import Table, of_columns
from eval.reporting.groups import Group, Panel
from eval.reporting.read_runs import verdicts
from eval.reporting.simulated import OVER_BOTH, OVER_SEEDS, shown

Verdicts = Mapping[tuple[str, int], float]
BySeed = Mapping[int | None, Verdicts]


@dataclass(frozen=True)
class Pair:
    """One algorithm minus another; differences are shares."""

    name: str
    seeds: str
    """The number of seeds of each, e.g. "3" or "3 and 5"."""
    by_seed: tuple[float, ...]
    """One per shared seed; empty if their seeds differ."""
    over_seeds: Spread | None
    """None with one seed."""
    over_problems: Interval
    p: float
    test: str

    @property
    def interval(self) -> Interval:
        """Over seeds and problems; with one seed over problems only."""
        return over_both(self.over_seeds, self.over_problems)


def compare(name: str, a: BySeed, b: BySeed) -> Pair:
    """a - b from the verdicts of their runs by seed, all on the same problems.

    The same seeds are compared seed by seed, different seeds as two samples.
    """
    by_problem = paired(_mean_of(a), _mean_of(b))
    problems = of_differences(by_problem)
    shared = sorted(a, key=str) if a.keys() == b.keys() else []
    by_seed = tuple(fmean(a[seed].values()) - fmean(b[seed].values()) for seed in shared)
    accuracies = [[fmean(each.values()) for each in of.values()] for of in (a, b)]
    found = spread(by_seed) if shared else spread_apart(*accuracies)
    if found is None and {*by_problem} <= {-1, 0, 1}:
        p, test = mcnemar(by_problem.count(1), by_problem.count(-1)), "McNemar, problems only"
    else:
        p, test = p_value(found, problems), "t and problems" if found else "problems only"
    counts = [str(len(of)) for of in ((a,) if shared else (a, b))]
    return Pair(name, " and ".join(counts), by_seed, found, problems, p, test)


def pairs_of(panels: Sequence[Panel]) -> list[Pair]:
    """All pairs of groups of a panel that are finished and have their last answers to the same problems."""
    found = []
    for panel in panels:
        answered = [(group, values) for group in panel.groups if (values := _by_seed(group))]
        for (a, of_a), (b, of_b) in combinations(answered, 2):
            if _problems(of_a) == _problems(of_b):
                where = f"{panel.title}: " if len(panels) > 1 else ""
                found.append(compare(f"{where}{b.label} - {a.label}", of_b, of_a))
    return found


def pairs_table(pairs: Sequence[Pair]) -> Table:
    """A row per pair, in percentage points."""
    corrected = holm([pair.p for pair in pairs])
    columns = {
        "compared": [pair.name for pair in pairs],
        "seeds": [pair.seeds for pair in pairs],
        "difference": [f"{100 * pair.over_problems.mean:+.1f}" for pair in pairs],
        "by seed": [" ".join(f"{100 * each:+.1f}" for each in pair.by_seed) for pair in pairs],
        "95 % over seeds": [points(t_interval(pair.over_seeds)) if pair.over_seeds else "" for pair in pairs],
        "df": [str(pair.over_seeds.df) if pair.over_seeds else "" for pair in pairs],
        "95 % over problems": [points(pair.over_problems) for pair in pairs],
        "95 % over both": [points(pair.interval) if pair.over_seeds else "" for pair in pairs],
        "p": [shown_p(pair.p) for pair in pairs],
        "p, Holm": [shown_p(each) for each in corrected],
        "test": [pair.test for pair in pairs],
    }
    return of_columns(columns)


def reading(pairs: Sequence[Pair]) -> str:
    """How to read the table."""
    several = {len(pair.by_seed) for pair in pairs if pair.over_seeds}
    said = [_READING]
    if any(pair.over_seeds is None for pair in pairs):
        said.append(_ONE_SEED)
    if several:
        said.append(_SIMULATED.format(both=shown(OVER_BOTH, several), seeds=shown(OVER_SEEDS, several)))
    return " ".join(said)


_READING = (
    "Percentage points at the last validations. Seeds are random: the difference of two runs with the same seed is one "
    "number, and its 95 % interval over seeds is Student's t with df degrees of freedom (these problems, other seeds). "
    "Over problems: the mean over seeds, problems resampled (these models, other problems). Over both: the two "
    "half-widths squared and summed; p, two-sided, is the level at which that interval reaches 0, Holm's is corrected "
    "for the number of rows."
)
_ONE_SEED = (
    "With one seed nothing is known about other seeds: such a row compares two models, not two algorithms, and finds "
    "differences between equal algorithms far more often than in 5 % of cases."
)
_SIMULATED = (
    "In simulations the interval over both excludes 0 for equal algorithms in {both} of comparisons; 5 % is nominal: "
    "it is conservative if seeds differ little, and misses small differences. The interval over seeds alone does so in "
    "{seeds}, most if the algorithms favour different problems (results/false_positives)."
)


def _by_seed(group: Group) -> BySeed:
    """The verdicts of each seed; empty while one is training, or if they were tested on different problems.

    Repeated runs of a seed count as one, with the mean of the runs.
    """
    answers = [verdicts(run) for run in group.runs]
    if not all(run.finished for run in group.runs) or not all(answers):
        return {}
    if any(each.keys() != answers[0].keys() for each in answers):
        return {}
    of_seed: dict[int | None, dict[int, Verdicts]] = {}
    for number, (run, each) in enumerate(zip(group.runs, answers, strict=True)):
        of_seed.setdefault(run.seed, {})[number] = each
    return {seed: _mean_of(each) for seed, each in of_seed.items()}


def _mean_of(runs: Mapping[int, Verdicts] | BySeed) -> Verdicts:
    every = list(runs.values())
    return {problem: fmean(each[problem] for each in every) for problem in every[0]}


def _problems(of: BySeed) -> frozenset[tuple[str, int]]:
    return frozenset(next(iter(of.values())))


def points(interval: Interval) -> str:
    """An interval in percentage points."""
    return f"{100 * interval.low:+.1f} to {100 * interval.high:+.1f}"


def shown_p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"
