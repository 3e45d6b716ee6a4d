"""Intervals and paired comparisons against hand-computed values and enumeration."""

from __future__ import annotations

import itertools
import math
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.intervals import (
    bootstrap,
    compare,
    crossed_bootstrap,
    mcnemar,
    over_seeds,
    sign_flips,
    stratified_bootstrap,
    wilson,
)


def test_bootstrap_agrees_with_enumeration_of_all_resamples() -> None:
    values = [0.0, 0.25, 1.0, 1.0]
    every = [fmean(draw) for draw in itertools.product(values, repeat=4)]
    low, high = np.quantile(every, [0.1, 0.9])
    found = bootstrap(values, level=0.8, resamples=40_000)
    assert found.mean == 0.5625
    assert (found.low, found.high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))


def test_bootstrap_has_the_width_of_the_binomial() -> None:
    found = bootstrap([1.0] * 300 + [0.0] * 700)
    half = 1.96 * math.sqrt(0.3 * 0.7 / 1000)
    assert found.high - 0.3 == pytest.approx(half, rel=0.06)
    assert 0.3 - found.low == pytest.approx(half, rel=0.06)


values_of_problems = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@settings(deadline=None, max_examples=40)
@given(values_of_problems, st.integers(0, 5))
def test_bootstrap_is_seeded_and_stays_within_the_values(values: list[float], seed: int) -> None:
    found = bootstrap(values, resamples=300, seed=seed)
    assert found == bootstrap(values, resamples=300, seed=seed)
    slack = 1e-9
    assert min(values) - slack <= found.low <= found.high <= max(values) + slack
    wider = bootstrap(values, resamples=300, seed=seed, level=0.99)
    assert wider.low <= found.low
    assert found.high <= wider.high


def test_strata_weigh_the_same_whatever_their_size() -> None:
    found = stratified_bootstrap([[1.0] * 1000, [0.0] * 3])
    assert (found.mean, found.low, found.high) == (0.5, 0.5, 0.5)
    found = stratified_bootstrap([[1.0, 0.0] * 50, [1.0, 0.0] * 50])
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(200), rel=0.1)


def test_seeds_and_problems_are_both_redrawn() -> None:
    one_row = crossed_bootstrap([[1.0, 0.0] * 50])
    assert one_row.high - one_row.low == pytest.approx(2 * 1.96 * 0.05, rel=0.1)
    # No two problems differ, but the seeds do.
    rows = crossed_bootstrap([[0.2] * 50, [0.4] * 50, [0.6] * 50])
    assert rows.mean == pytest.approx(0.4)
    assert (rows.low, rows.high) == (pytest.approx(0.2), pytest.approx(0.6))


def test_many_distinct_values_are_drawn_in_blocks() -> None:
    values = [number / 5000 for number in range(5000)]
    found = bootstrap(values, resamples=1000)
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(1 / 12 / 5000), rel=0.15)


def test_nothing_has_no_interval() -> None:
    for empty in ([], [[]], [[1.0], []]):
        with pytest.raises(ValueError, match="at least one problem"):
            stratified_bootstrap(empty)
    with pytest.raises(ValueError, match="a row a seed"):
        crossed_bootstrap([[]])


def test_wilson_by_hand() -> None:
    found = wilson(81, 263)
    assert (found.low, found.high) == (pytest.approx(0.2553, abs=1e-4), pytest.approx(0.3662, abs=1e-4))
    assert wilson(0, 20).low == 0.0
    assert wilson(0, 20).high == pytest.approx(0.1611, abs=1e-4)
    assert wilson(20, 20).high == 1.0


@settings(deadline=None)
@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_share_and_is_symmetric(case: tuple[int, int]) -> None:
    correct, problems = case
    found, mirrored = wilson(correct, problems), wilson(problems - correct, problems)
    assert 0 <= found.low <= correct / problems <= found.high <= 1
    assert found.low == pytest.approx(1 - mirrored.high, abs=1e-12)


def test_bootstrap_and_wilson_agree_on_plain_accuracy() -> None:
    resampled, closed = bootstrap([1.0] * 134 + [0.0] * 122), wilson(134, 256)
    assert resampled.low == pytest.approx(closed.low, abs=0.006)
    assert resampled.high == pytest.approx(closed.high, abs=0.006)


def test_mcnemar_by_hand() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 0) == 2 / 32
    assert mcnemar(1, 9) == pytest.approx(2 * (1 + 10) / 1024)
    assert mcnemar(4, 4) == 1.0


@settings(deadline=None)
@given(st.integers(0, 7), st.integers(0, 7))
def test_mcnemar_is_the_share_of_coin_throws_as_uneven(wins: int, losses: int) -> None:
    throws = list(itertools.product((-1, 1), repeat=wins + losses))
    expected = sum(abs(sum(throw)) >= abs(wins - losses) for throw in throws) / len(throws)
    assert mcnemar(wins, losses) == pytest.approx(expected)
    # Flipping signs of differences that are all 0 or 1 is the same test.
    assert sign_flips([1.0] * wins + [-1.0] * losses)[0] == pytest.approx(expected)


def test_sampled_sign_flips_agree_with_all_signs() -> None:
    differences = [0.5, 0.25, -0.25, 0.75, 0.5, -0.5, 0.25, 0.25, 1.0, -0.25, 0.5, 0.25, -0.75, 0.5, 0.1, -0.2, 0.3]
    signs = 2 * (np.arange(2**17)[:, None] >> np.arange(17) & 1) - 1
    every = np.abs(signs @ np.array(differences)) >= sum(differences) - 1e-9
    sampled, test = sign_flips([*differences, 0.0, 0.0], resamples=40_000)
    assert test == "sampled sign flips"
    assert sampled == pytest.approx(every.mean(), abs=0.01)
    assert sign_flips(differences[:14])[1] == "exact sign flips"
    assert sign_flips([1.0] * 60)[0] == pytest.approx(1 / 10_001)


def test_comparison_pairs_by_problem_and_not_by_order() -> None:
    a = {"p": 1.0, "q": 1.0, "r": 0.0, "s": 1.0}
    b = {"s": 0.0, "r": 0.0, "q": 1.0, "p": 0.0}
    found = compare(a, b)
    assert (found.problems, found.wins, found.losses, found.test) == (4, 2, 0, "exact McNemar")
    assert found.difference.mean == 0.5
    assert found.p_value == 0.5
    mirrored = compare(b, a)
    assert (mirrored.wins, mirrored.losses, mirrored.p_value) == (0, 2, 0.5)
    assert mirrored.difference.mean == -0.5
    assert compare({"p": 0.25, "q": 1.0}, {"p": 0.0, "q": 1.0}).test == "exact sign flips"
    assert compare(a, a).p_value == 1.0


def test_comparison_refuses_other_problems() -> None:
    with pytest.raises(ValueError, match=r"1 are in one only.*'q'"):
        compare({"p": 1.0, "q": 0.0}, {"p": 1.0})
    with pytest.raises(ValueError, match="the same problems"):
        compare({}, {})


def test_pairing_sees_a_difference_that_two_intervals_hide() -> None:
    a = {number: float(number % 2 == 0 or number < 24) for number in range(200)}
    b = {number: float(number % 2 == 0) for number in range(200)}
    apart = bootstrap(list(a.values())).low < bootstrap(list(b.values())).high
    assert apart
    assert compare(a, b).difference.low > 0
    assert compare(a, b).p_value == 2 / 2**12


def test_seeds_by_hand() -> None:
    found = over_seeds([0.4, 0.5, 0.6])
    assert (found.count, found.mean, found.low, found.high) == (3, pytest.approx(0.5), 0.4, 0.6)
    assert found.deviation == pytest.approx(0.1)
    assert over_seeds([0.4]).deviation is None
    with pytest.raises(ValueError, match="one seed"):
        over_seeds([])
