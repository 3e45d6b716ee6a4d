"""Confidence intervals of accuracies and of differences between algorithms, as pure functions of numbers.
There are two sources of randomness: the few seeds (Student's t), and the problems (bootstrap, or closed forms)."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, fmean, stdev
from typing import TypeVar

import numpy as np

RESAMPLES = 10_000
Problem = TypeVar("Problem", bound=Hashable)

_BLOCK = 2_000_000
_HALVINGS = 80


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval, in the unit of the values."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Spread:
    """A mean over seeds with its standard error, and the degrees of freedom of that error."""

    mean: float
    error: float
    df: int


def student_tail(t: float, df: int) -> float:
    """P(|T| > t) of Student's t with `df` degrees of freedom, in closed form (Abramowitz and Stegun 26.7.3, 26.7.4)."""
    if df < 1:
        raise ValueError(f"Student's t needs at least 1 degree of freedom, got {df}")
    angle = math.atan(abs(t) / math.sqrt(df))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    odd = df % 2
    term, total = (math.cos(angle), 0.0) if odd else (1.0, 0.0)
    for k in range(1 + odd, df, 2):
        total += term
        term *= square * k / (k + 1)
    inside = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return max(0.0, 1.0 - inside)


@lru_cache
def student_quantile(df: int, level: float = 0.95) -> float:
    """The t with P(|T| < t) = `level`, e.g. 4.303 for 2 degrees of freedom."""
    return _crossing(lambda t: student_tail(t, df) <= 1 - level, 1.0)


def spread(values: Sequence[float]) -> Spread | None:
    """The spread of one number per seed (an accuracy, or a difference of two runs with the same seed); None with one
    seed."""
    if len(values) < 2:
        return None
    return Spread(fmean(values), stdev(values) / math.sqrt(len(values)), len(values) - 1)


def spread_apart(a: Sequence[float], b: Sequence[float]) -> Spread | None:
    """The spread of mean(a) - mean(b) with different seeds: Welch's error with the smaller degrees of freedom, which is
    conservative; None if either has only one seed."""
    of_a, of_b = spread(a), spread(b)
    if of_a is None or of_b is None:
        return None
    return Spread(of_a.mean - of_b.mean, math.hypot(of_a.error, of_b.error), min(of_a.df, of_b.df))


def t_interval(found: Spread, *, level: float = 0.95) -> Interval:
    """Student's interval over seeds: the result with other seeds on these problems."""
    half = student_quantile(found.df, level) * found.error
    return Interval(found.mean, found.mean - half, found.mean + half)


def over_both(seeds: Spread | None, problems: Interval, *, level: float = 0.95) -> Interval:
    """An interval over seeds and problems: the square root of the sum of squares of Student's half-width over seeds and
    the half-width over problems. With one seed it is the interval over problems.

    Each half-width has the quantile of its own distribution, so that with independent errors the coverage is at least
    `level` (Banerjee, Sankhya 22, 1960), and no degrees of freedom have to be guessed for the sum. The noise of single
    answers is in both, which makes the interval a little wide.

    Args:
        problems: an interval of the same level and the same mean.
    """
    if seeds is None:
        return problems
    half = student_quantile(seeds.df, level) * seeds.error
    low, high = math.hypot(half, problems.mean - problems.low), math.hypot(half, problems.high - problems.mean)
    return Interval(problems.mean, problems.mean - low, problems.mean + high)


def p_value(seeds: Spread | None, problems: Interval) -> float:
    """Two-sided p-value of a difference of 0: the level at which `over_both` would just reach 0.

    Args:
        problems: the 95 % interval over problems; its half-width towards 0 is scaled like a normal distribution's.
    """
    reach = abs(problems.low - problems.mean if problems.mean > 0 else problems.high - problems.mean)
    if problems.mean == 0:
        return 1.0
    of_problems = reach / NormalDist().inv_cdf(0.975)
    if seeds is None or seeds.error == 0:
        return 0.0 if of_problems == 0 else 2 * (1 - NormalDist().cdf(abs(problems.mean) / of_problems))

    def beyond(t: float) -> bool:
        tail = student_tail(t, seeds.df)
        z = -NormalDist().inv_cdf(tail / 2) if tail > 0 else math.inf
        return math.hypot(t * seeds.error, z * of_problems) >= abs(problems.mean)

    return student_tail(_crossing(beyond, 1.0), seeds.df)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979): by chance, any of them is below .05 in 5 % of such sets."""
    corrected, so_far = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=lambda each: p_values[each])):
        so_far = max(so_far, min(1.0, (len(p_values) - rank) * p_values[at]))
        corrected[at] = so_far
    return corrected


def over_problems(values: Sequence[float], *, level: float = 0.95, resamples: int = RESAMPLES) -> Interval:
    """Interval of a mean of shares. `values` has one number from 0 to 1 per problem (its mean over samples): problems
    are the independent units, because samples of one problem are correlated.

    Wilson's interval if every value is 0 or 1, else a bootstrap.
    """
    if len(values) and all(value in (0, 1) for value in values):
        return wilson(int(sum(values)), len(values), level=level)
    return bootstrap(values, level=level, resamples=resamples)


def of_differences(values: Sequence[float], *, level: float = 0.95, resamples: int = RESAMPLES) -> Interval:
    """Interval of a mean of paired differences, one number from -1 to 1 per problem.

    Agresti and Min's interval (2005, half an answer added to each of the four cells) if every value is -1, 0 or 1: two
    models that agree on 30 problems need not agree on all. Else a bootstrap.
    """
    if not len(values) or any(value not in (-1, 0, 1) for value in values):
        return bootstrap(values, level=level, resamples=resamples)
    n, wins, losses = len(values) + 2, sum(v > 0 for v in values) + 0.5, sum(v < 0 for v in values) + 0.5
    mean, centre = fmean(values), (wins - losses) / n
    half = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(wins + losses - (wins - losses) ** 2 / n) / n
    return Interval(mean, max(-1.0, min(mean, centre - half)), min(1.0, max(mean, centre + half)))


def over_strata(strata: Sequence[Sequence[float]], *, level: float = 0.95, resamples: int = RESAMPLES) -> Interval:
    """Interval of the unweighted mean of the strata's means, with problems resampled within each stratum: the
    half-widths of `over_problems` per stratum, squared and summed (Zou and Donner 2008)."""
    if not strata or not all(len(values) for values in strata):
        raise ValueError("an interval needs at least one problem in every part")
    parts = [over_problems(values, level=level, resamples=resamples) for values in strata]
    mean = fmean(part.mean for part in parts)
    below = math.hypot(*(part.mean - part.low for part in parts)) / len(parts)
    above = math.hypot(*(part.high - part.mean for part in parts)) / len(parts)
    return Interval(mean, mean - below, mean + above)


def bootstrap(values: Sequence[float], *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Percentile bootstrap interval of a mean; of zero width if all values are equal."""
    if not len(values):
        raise ValueError("an interval needs at least one problem")
    # The mean depends only on how often each of the few distinct values is drawn.
    distinct, counts = np.unique(np.asarray(values, dtype=float), return_counts=True)
    rng, total, block = np.random.default_rng(seed), len(values), max(1, _BLOCK // len(counts))
    sizes = [min(block, resamples - start) for start in range(0, resamples, block)]
    means = np.concatenate([rng.multinomial(total, counts / total, size=size) @ distinct / total for size in sizes])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(fmean(values), float(low), float(high))


def wilson(correct: int, problems: int, *, level: float = 0.95) -> Interval:
    """Wilson's interval of a share, for one sample per problem: valid near 0 and 1 too, e.g. 0 to .114 for 0 of 30."""
    if not 0 <= correct <= problems or problems < 1:
        raise ValueError(f"a share needs 0 <= correct <= problems, got {correct} of {problems}")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = correct / problems
    centre = (share + z * z / (2 * problems)) / (1 + z * z / problems)
    half = z / (1 + z * z / problems) * math.sqrt(share * (1 - share) / problems + (z / (2 * problems)) ** 2)
    # Rounding may put an end slightly beyond the share itself.
    return Interval(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


def mcnemar(wins: int, losses: int) -> float:
    """Exact two-sided p-value: is a win as likely as a loss among the problems on which two models differ?"""
    total = wins + losses
    tail = sum(math.comb(total, count) for count in range(min(wins, losses) + 1))
    return min(1.0, 2 * tail / 2**total)


def paired(a: Mapping[Problem, float], b: Mapping[Problem, float]) -> list[float]:
    """a - b on each problem. Raises ValueError if the problems differ: a comparison may not choose them."""
    if a.keys() != b.keys() or not a:
        odd = sorted(map(str, a.keys() ^ b.keys()))
        raise ValueError(f"a paired comparison needs the same problems: {len(odd)} are in one only, e.g. {odd[:3]}")
    return [a[problem] - b[problem] for problem in a]


def _crossing(reached: Callable[[float], bool], start: float) -> float:
    """The least x >= 0 from which on `reached` holds."""
    high = start
    while not reached(high):
        high *= 2
    low = 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
