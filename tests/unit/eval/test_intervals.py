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
    Interval,
    Spread,
    bootstrap,
    holm,
    mcnemar,
    of_differences,
    over_both,
    over_problems,
    over_strata,
    p_value,
    paired,
    spread,
    spread_apart,
    student_quantile,
    student_tail,
    t_interval,
    wilson,
)


@pytest.mark.parametrize(
    ("df", "level", "t"),
    [  # a printed table of Student's distribution
        *((1, 0.95, 12.706), (2, 0.95, 4.303), (3, 0.95, 3.182), (4, 0.95, 2.776), (5, 0.95, 2.571)),
        *((9, 0.95, 2.262), (10, 0.95, 2.228), (29, 0.95, 2.045), (30, 0.95, 2.042), (120, 0.95, 1.980)),
        *((1, 0.99, 63.657), (2, 0.99, 9.925), (4, 0.99, 4.604), (10, 0.99, 3.169), (2, 0.9, 2.920), (4, 0.5, 0.741)),
    ],
)
def test_students_quantiles_are_those_of_the_tables(df: int, level: float, t: float) -> None:
    assert student_quantile(df, level) == pytest.approx(t, abs=6e-4)
    assert student_tail(t, df) == pytest.approx(1 - level, abs=2e-4)
    assert student_tail(-t, df) == student_tail(t, df)


def test_students_tail_in_closed_form() -> None:
    assert student_tail(1.0, 1) == pytest.approx(0.5)  # Cauchy
    assert student_tail(math.sqrt(2), 2) == pytest.approx(1 - math.sqrt(2) / 2)
    assert student_tail(0.0, 7) == 1.0
    with pytest.raises(ValueError, match="at least 1 degree"):
        student_tail(1.0, 0)


def test_t_interval_over_seeds_by_hand() -> None:
    """Differences of 8, 5 and 11 points: mean 8, deviation 3, so 8 +- 4.303 * 3 / sqrt(3)."""
    found = spread([0.08, 0.05, 0.11])
    assert found is not None
    assert found.df == 2
    interval = t_interval(found)
    assert (interval.low, interval.high) == (pytest.approx(0.0055, abs=1e-4), pytest.approx(0.1545, abs=1e-4))
    assert spread([0.08]) is None


def test_other_seeds_are_two_samples() -> None:
    found = spread_apart([0.5, 0.6, 0.7], [0.1, 0.2, 0.3, 0.2])
    assert found is not None
    assert (found.mean, found.df) == (pytest.approx(0.4), 2)
    assert found.error == pytest.approx(math.sqrt(0.01 / 3 + (0.02 / 3) / 4))
    assert spread_apart([0.5, 0.6], [0.1]) is None


def test_seeds_and_problems_are_legs_of_a_right_angle() -> None:
    # Half-widths: 4.303 * .01 = .043 over seeds; .06 and .08 over problems.
    found = over_both(Spread(0.1, 0.01, 2), Interval(0.1, 0.04, 0.18))
    assert found.low == pytest.approx(0.1 - math.hypot(0.04303, 0.06), abs=1e-5)
    assert found.high == pytest.approx(0.1 + math.hypot(0.04303, 0.08), abs=1e-5)
    assert over_both(None, Interval(0.1, 0.04, 0.18)) == Interval(0.1, 0.04, 0.18)


@settings(deadline=None, max_examples=60)
@given(st.floats(-0.5, 0.5), st.floats(0, 0.2), st.integers(1, 9), st.floats(1e-3, 0.3), st.floats(1e-3, 0.3))
def test_p_is_below_05_just_where_the_interval_leaves_out_0(
    mean: float, error: float, df: int, below: float, above: float
) -> None:
    seeds, problems = Spread(mean, error, df), Interval(mean, mean - below, mean + above)
    interval = over_both(seeds, problems)
    edge = min(abs(interval.low), abs(interval.high))
    if edge > 1e-6:
        assert (p_value(seeds, problems) < 0.05) == (interval.low > 0 or interval.high < 0)


def test_p_by_hand() -> None:
    exact = Interval(0.2, 0.2, 0.2)  # no chance in the problems: Student's test, t = 4.303 and 12.706
    assert p_value(Spread(0.2, 0.2 / 4.302653, 2), exact) == pytest.approx(0.05, abs=1e-5)
    assert p_value(Spread(0.2, 0.2 / 12.7062, 1), exact) == pytest.approx(0.05, abs=1e-5)
    # No chance in the seeds: a normal test.
    assert p_value(Spread(0.2, 0.0, 2), Interval(0.2, 0.0, 0.5)) == pytest.approx(0.05)
    assert p_value(None, Interval(-0.2, -0.9, 0.0)) == pytest.approx(0.05)
    assert p_value(None, Interval(0.0, -0.1, 0.1)) == 1.0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.5]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_nothing_right_of_thirty_is_not_certainty() -> None:
    found = over_problems([0.0] * 30)
    assert (found.mean, found.low, found.high) == (0.0, 0.0, pytest.approx(0.1135, abs=1e-4))
    assert over_problems([1.0] * 30).low == pytest.approx(0.8865, abs=1e-4)
    assert over_problems([1.0, 0.0] * 20) == wilson(20, 40)
    # Two or more samples a problem are no shares of problems.
    assert over_problems([0.5, 0.0] * 20) == bootstrap([0.5, 0.0] * 20)


def test_no_difference_on_thirty_problems_is_not_certainty() -> None:
    """Agresti and Min: 0 +- 1.96 * sqrt(1) / 32."""
    found = of_differences([0.0] * 30)
    assert (found.low, found.high) == (pytest.approx(-0.06125, abs=1e-5), pytest.approx(0.06125, abs=1e-5))
    # 12 wins, 4 losses of 50: (8 +- 1.96 * sqrt(17 - 64 / 52)) / 52, about its own centre.
    found = of_differences([1.0] * 12 + [-1.0] * 4 + [0.0] * 34)
    half = 1.959964 * math.sqrt(17 - 64 / 52) / 52
    assert found.mean == pytest.approx(0.16)
    assert (found.low, found.high) == (pytest.approx(8 / 52 - half), pytest.approx(8 / 52 + half))
    assert of_differences([1 / 3, 0.0, -1.0]) == bootstrap([1 / 3, 0.0, -1.0])


@settings(deadline=None)
@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=40))
def test_an_interval_of_differences_holds_its_mean_and_turns_with_it(values: list[float]) -> None:
    found, turned = of_differences(values), of_differences([-value for value in values])
    assert -1 <= found.low <= found.mean <= found.high <= 1
    assert (found.low, found.high) == (pytest.approx(-turned.high), pytest.approx(-turned.low))
    assert found.high > found.low


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
    # 1000 of 1000 and 0 of 3: the width is that of the three, halved.
    found = over_strata([[1.0] * 1000, [0.0] * 3])
    assert (found.mean, found.high) == (0.5, pytest.approx(0.5 + wilson(0, 3).high / 2))
    assert found.low == pytest.approx(0.5 - (1 - wilson(1000, 1000).low) / 2)
    for strata in ([[1.0, 0.0] * 50] * 2, [[0.75, 0.25] * 50, [0.75, 0.25] * 50]):
        found = over_strata(strata)
        deviation = strata[0][0] - 0.5
        assert found.high - found.low == pytest.approx(2 * 1.96 * deviation / math.sqrt(200), rel=0.1)
    assert over_strata([[1.0, 0.0, 0.0]]) == wilson(1, 3)


def test_many_distinct_values_are_drawn_in_blocks() -> None:
    values = [number / 5000 for number in range(5000)]
    found = bootstrap(values, resamples=1000)
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(1 / 12 / 5000), rel=0.15)


def test_nothing_has_no_interval() -> None:
    for empty in ([], [[]], [[1.0], []]):
        with pytest.raises(ValueError, match="at least one problem"):
            over_strata(empty)
    for interval in (over_problems, of_differences, bootstrap):
        with pytest.raises(ValueError, match="at least one problem"):
            interval([])


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


def test_pairing_goes_by_problem_and_not_by_order() -> None:
    a = {"p": 1.0, "q": 1.0, "r": 0.0}
    assert paired(a, {"r": 0.0, "q": 0.5, "p": 0.0}) == [1.0, 0.5, 0.0]
    with pytest.raises(ValueError, match=r"1 are in one only.*'q'"):
        paired({"p": 1.0, "q": 0.0}, {"p": 1.0})
    with pytest.raises(ValueError, match="the same problems"):
        paired({}, {})
