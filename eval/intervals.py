"""Confidence intervals, paired comparison of two models, and means over seeds. Pure functions on numbers.
The unit of chance is the problem: samples of one problem resemble each other."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import TypeVar

import numpy as np

RESAMPLES = 10_000
Problem = TypeVar("Problem", bound=Hashable)

_EXACT_SIGN_FLIPS = 16
_BLOCK = 2_000_000


@dataclass(frozen=True)
class Interval:
    """A mean and the two ends of its confidence interval, in the unit of the values."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Model A minus model B on the same problems."""

    problems: int
    difference: Interval
    wins: int
    """Problems on which A is better."""
    losses: int
    p_value: float
    """Two-sided, of the hypothesis that A and B are exchangeable on every problem."""
    test: str
    """"exact McNemar", "exact sign flips" or "sampled sign flips"."""


@dataclass(frozen=True)
class Seeds:
    """One number from several runs that differ by their seed alone."""

    count: int
    mean: float
    low: float
    high: float
    deviation: float | None
    """Sample standard deviation; None with one seed, of which nothing is known about the spread."""


def bootstrap(values: Sequence[float], *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Percentile interval of a mean. `values` has one number a problem (its mean over samples): the unit of chance is
    the problem, because samples of one problem resemble each other.
    """
    return stratified_bootstrap([values], level=level, resamples=resamples, seed=seed)


def stratified_bootstrap(
    strata: Sequence[Sequence[float]], *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Percentile interval of the unweighted mean of the strata's means; problems are redrawn within each stratum."""
    if not strata or not all(len(values) for values in strata):
        raise ValueError("an interval needs at least one problem in every part")
    rng = np.random.default_rng(seed)
    means = np.zeros(resamples)
    for values in strata:
        means += _redrawn(rng, np.asarray([values], dtype=float), resamples)[:, 0]
    low, high = np.quantile(means / len(strata), [(1 - level) / 2, (1 + level) / 2])
    return Interval(fmean(fmean(values) for values in strata), float(low), float(high))


def crossed_bootstrap(
    table: Sequence[Sequence[float]], *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Percentile interval of the mean of a table with a row a seed and a column a problem; both are redrawn.

    With one row it is `bootstrap`. With two or three rows the spread between seeds is hardly known and the interval
    too narrow: give the range beside it.
    """
    values = np.asarray(table, dtype=float)
    if values.ndim != 2 or not values.size:
        raise ValueError("an interval needs a row a seed and a column a problem")
    rng = np.random.default_rng(seed)
    seeds = len(values)
    weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
    means = (weights * _redrawn(rng, values, resamples)).sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def _redrawn(rng: np.random.Generator, table: np.ndarray, resamples: int) -> np.ndarray:
    """Means of a table's rows, shape (resamples, rows), with its columns drawn with replacement."""
    # They depend only on how often each distinct column is drawn, and answers of 0 and 1 have few.
    distinct, counts = np.unique(table, axis=1, return_counts=True)
    total, block = table.shape[1], max(1, _BLOCK // len(counts))
    parts = [min(block, resamples - start) for start in range(0, resamples, block)]
    return np.concatenate([rng.multinomial(total, counts / total, size=size) @ distinct.T / total for size in parts])


def wilson(correct: int, problems: int, *, level: float = 0.95) -> Interval:
    """Wilson's interval of a share, for one sample a problem: a check on the bootstrap, and right near 0 and 1, where
    the bootstrap of all-equal answers has no width.
    """
    if not 0 <= correct <= problems or problems < 1:
        raise ValueError(f"a share needs 0 <= correct <= problems, got {correct} of {problems}")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = correct / problems
    centre = (share + z * z / (2 * problems)) / (1 + z * z / problems)
    half = z / (1 + z * z / problems) * math.sqrt(share * (1 - share) / problems + (z / (2 * problems)) ** 2)
    # Rounding may leave an end a hair beyond the share itself.
    return Interval(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


def compare(
    a: Mapping[Problem, float], b: Mapping[Problem, float], *, resamples: int = RESAMPLES, seed: int = 0
) -> Comparison:
    """Compare two models by their values (mean over samples) on the same problems.

    Values of only 0 and 1 are tested by McNemar's exact test, others by flipping the signs of the differences.
    Raises ValueError when the problems are not the same: a comparison may not choose its problems.
    """
    if a.keys() != b.keys() or not a:
        odd = sorted(map(str, a.keys() ^ b.keys()))
        raise ValueError(f"a paired comparison needs the same problems: {len(odd)} are in one only, e.g. {odd[:3]}")
    differences = [a[problem] - b[problem] for problem in a]
    wins, losses = sum(each > 0 for each in differences), sum(each < 0 for each in differences)
    if all(value in (0.0, 1.0) for value in (*a.values(), *b.values())):
        p_value, test = mcnemar(wins, losses), "exact McNemar"
    else:
        p_value, test = sign_flips(differences, resamples=resamples, seed=seed)
    interval = bootstrap(differences, resamples=resamples, seed=seed)
    return Comparison(len(differences), interval, wins, losses, p_value, test)


def mcnemar(wins: int, losses: int) -> float:
    """Exact two-sided p-value: is a win as likely as a loss among the problems on which two models differ?"""
    total = wins + losses
    tail = sum(math.comb(total, count) for count in range(min(wins, losses) + 1))
    return min(1.0, 2 * tail / 2**total)


def sign_flips(differences: Sequence[float], *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, str]:
    """Two-sided p-value of a mean difference under random signs, and whether all signs were tried or some sampled."""
    moved = np.array([each for each in differences if each != 0], dtype=float)
    if not len(moved):
        return 1.0, "exact sign flips"
    # Sums of the same numbers in another order may differ in the last digits.
    reached = abs(moved.sum()) * (1 - 1e-9)
    if len(moved) <= _EXACT_SIGN_FLIPS:
        bits = np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved)) & 1
        return float((np.abs((2 * bits - 1) @ moved) >= reached).mean()), "exact sign flips"
    rng = np.random.default_rng(seed)
    hits, block = 0, max(1, _BLOCK // len(moved))
    for start in range(0, resamples, block):
        signs = 2 * rng.integers(0, 2, size=(min(block, resamples - start), len(moved))) - 1
        hits += int((np.abs(signs @ moved) >= reached).sum())
    # The observed signs are one of the possible draws: a sampled p-value is never 0.
    return (hits + 1) / (resamples + 1), "sampled sign flips"


def over_seeds(values: Sequence[float]) -> Seeds:
    """Mean, lowest, highest and spread of one number a seed."""
    if not values:
        raise ValueError("a mean over seeds needs at least one seed")
    return Seeds(len(values), fmean(values), min(values), max(values), stdev(values) if len(values) > 1 else None)
