"""pass@k, maj@k and avg@k against hand-computed values, enumeration and their properties."""

from __future__ import annotations

import itertools
import random
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.metrics import average_at_k, chosen_ks, majority_at_k, pass_at_k

counts = st.integers(1, 8).flatmap(
    lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))
)  # n samples, c correct, k drawn


@settings(deadline=None)
@given(counts)
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_sample(case: tuple[int, int, int]) -> None:
    n, c, k = case
    subsets = list(itertools.combinations(range(n), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(min(subset) < c for subset in subsets) / len(subsets))


def test_pass_at_k_by_hand() -> None:
    assert pass_at_k(4, 1, 2) == 0.5
    assert pass_at_k(10, 3, 1) == pytest.approx(0.3)
    assert pass_at_k(5, 2, 3) == pytest.approx(1 - 1 / 10)
    # Where naive floating-point products of many factors would lose it.
    assert pass_at_k(2000, 1, 1000) == pytest.approx(0.5)


@settings(deadline=None)
@given(counts)
def test_pass_at_k_grows_with_k_and_with_c(case: tuple[int, int, int]) -> None:
    n, c, k = case
    assert pass_at_k(n, c, 1) == pytest.approx(c / n)
    if k < n:
        assert pass_at_k(n, c, k + 1) >= pass_at_k(n, c, k)
    if c < n:
        assert pass_at_k(n, c + 1, k) >= pass_at_k(n, c, k)


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 1, 0), (4, 1, 5), (0, 0, 1)])
def test_pass_at_k_refuses_impossible_counts(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"n={n}, c={c}, k={k}"):
        pass_at_k(n, c, k)


@pytest.mark.parametrize(
    ("answers", "correct", "value"),
    [
        (["7", "7", "8"], [1, 1, 0], 1.0),
        (["7", "8", "8"], [1, 0, 0], 0.0),
        (["7", "8"], [1, 0], 0.5),
        (["7", "8", "9"], [1, 0, 0], 1 / 3),
        ([None, None, "7"], [0, 0, 1], 1.0),
        ([None, None], [0, 0], 0.0),
        (["7", "7", "8", "8", None], [1, 1, 0, 0, 0], 0.5),
    ],
)
def test_majority_by_hand(answers: list[str | None], correct: list[float], value: float) -> None:
    assert majority_at_k(answers, correct) == pytest.approx(value)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["1", "2", "3", None]), min_size=1, max_size=9), st.randoms())
def test_majority_is_the_mean_over_fair_draws_between_the_leaders(
    answers: list[str | None], shuffler: random.Random
) -> None:
    votes = [answer for answer in answers if answer is not None]
    most = max((votes.count(answer) for answer in votes), default=0)
    leaders = {answer for answer in votes if votes.count(answer) == most}
    expected = fmean(float(answer == "1") for answer in leaders) if leaders else 0.0
    shuffled = list(answers)
    shuffler.shuffle(shuffled)
    assert majority_at_k(shuffled, [float(answer == "1") for answer in shuffled]) == pytest.approx(expected)


def test_majority_and_average_need_samples() -> None:
    with pytest.raises(ValueError, match="0 and 0"):
        majority_at_k([], [])
    with pytest.raises(ValueError, match="2 and 1"):
        majority_at_k(["1", "2"], [1.0])
    with pytest.raises(ValueError, match="at least one"):
        average_at_k([])
    assert average_at_k([1, 0, 0, 1]) == 0.5


@pytest.mark.parametrize(("text", "n", "ks"), [("1", 1, (1,)), ("8,1,3,3", 8, (1, 3, 8)), (" 2, 4 ", 4, (2, 4))])
def test_a_list_of_k_is_read(text: str, n: int, ks: tuple[int, ...]) -> None:
    assert chosen_ks(text, n) == ks


@pytest.mark.parametrize("text", ["0", "5", "1,5", "two", "", "1,,2", "-1", "1.5"])
def test_k_is_a_whole_number_of_at_most_n_samples(text: str) -> None:
    with pytest.raises(ValueError, match="whole number from 1 to n_samples"):
        chosen_ks(text, 4)
