"""Numbers of evaluations against hand-computed values, against enumeration, and by their properties."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from statistics import fmean
from typing import Any

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
from eval.metrics import average_at_k, chosen_ks, error_of, majority_at_k, pass_at_k, powers_of_two, summarise

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


def test_samples_of_one_problem_are_not_independent_problems() -> None:
    """Eight equal samples a problem tell no more than one: the interval may not shrink."""
    once = [0.0, 1.0] * 20
    assert bootstrap(once).high - bootstrap(once).low == pytest.approx(0.31, abs=0.03)
    items = [item(problem, sample, acc) for problem, acc in enumerate(once) for sample in range(8)]
    block = pooled(items)
    assert block["accuracy_high"] - block["accuracy_low"] == pytest.approx(0.31, abs=0.03)


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


def test_powers_of_two() -> None:
    assert [powers_of_two(n) for n in (1, 2, 3, 4, 9)] == [[1], [1, 2], [1, 2], [1, 2, 4], [1, 2, 4, 8]]


def item(problem: int, sample: int, acc: float, source: str = "countdown", **more: Any) -> dict[str, Any]:
    found = {"problem": problem, "sample": sample, "data_source": source, "tokens": 10, "truncated": False, "acc": acc}
    found |= {"format": 1.0, "parse_fail": 0.0, "reward_error": 0.0, "timeout": 0.0, "partial": acc, "pred": str(acc)}
    return found | more


def pooled(items: Sequence[dict[str, Any]]) -> dict[str, float]:
    block = summarise(items)["pooled"]
    assert isinstance(block, dict)
    return block


def test_summary_by_hand() -> None:
    items = [
        item(0, 0, 1.0, tokens=10),
        item(0, 1, 0.0, tokens=20),
        item(1, 0, 0.0, tokens=30, format=0.0, parse_fail=1.0, pred=""),
        item(1, 1, 0.0, tokens=64, format=0.0, parse_fail=1.0, pred="", truncated=True),
    ]
    block = pooled(items)
    assert (block["problems"], block["samples"]) == (2, 4)
    assert block["accuracy"] == block["pass@1"] == block["avg@2"] == 0.25
    assert block["pass@2"] == 0.5
    assert block["maj@2"] == 0.25  # one right and one wrong vote on the first problem, none on the second
    assert (block["format_rate"], block["truncation_rate"], block["partial"]) == (0.5, 0.25, 0.25)
    assert (block["tokens_mean"], block["tokens_p50"]) == (31, 25)
    assert block["tokens_p95"] == pytest.approx(64 - 0.15 * 34)
    assert (block["error_wrong"], block["error_unreadable"], block["error_truncated"]) == (0.25, 0.25, 0.25)
    assert "pass@4" not in block


def test_order_of_items_does_not_matter() -> None:
    items = [item(p, s, float((p + s) % 3 == 0), tokens=p + s) for p in range(5) for s in range(4)]
    shuffled = random.Random(0).sample(items, len(items))
    assert summarise(shuffled) == summarise(items)


def test_sources_weigh_the_same_in_the_unweighted_mean_and_problems_in_the_pooled() -> None:
    items = [item(p, 0, 1.0, "gsm8k") for p in range(9)] + [item(p, 0, 0.0, "aime24") for p in range(1)]
    found = summarise(items)
    assert found["pooled"]["accuracy"] == 0.9  # type: ignore[index]
    unweighted = found["mean_over_sources_unweighted"]
    assert isinstance(unweighted, dict)
    assert (unweighted["accuracy"], unweighted["pass@1"], unweighted["problems"]) == (0.5, 0.5, 10)
    assert (unweighted["accuracy_low"], unweighted["accuracy_high"]) == (0.5, 0.5)
    assert list(found["sources"]) == ["aime24", "gsm8k"]  # type: ignore[call-overload]


def test_sources_with_other_numbers_of_samples_share_what_both_have() -> None:
    items = [item(0, s, 1.0, "aime24") for s in range(4)] + [item(0, s, 0.0, "gsm8k") for s in range(2)]
    unweighted = summarise(items)["mean_over_sources_unweighted"]
    assert isinstance(unweighted, dict)
    assert unweighted["pass@2"] == 0.5
    assert not {"pass@4", "maj@4", "maj@2"} & set(unweighted)


def test_groups_are_told_apart_within_their_source() -> None:
    items = [item(p, 0, float(p == 0), "kk_logic", group=f"{3 + p} people") for p in range(2)]
    items += [item(0, 0, 1.0, "math"), item(1, 0, 0.0, "math", group=None)]
    groups = summarise(items)["groups"]
    assert isinstance(groups, dict)
    assert list(groups) == ["kk_logic"]
    assert {name: block["accuracy"] for name, block in groups["kk_logic"].items()} == {"3 people": 1, "4 people": 0}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"acc": 1.0, "truncated": True}, None),
        ({}, "wrong"),
        ({"parse_fail": 1.0}, "unreadable"),
        ({"parse_fail": 1.0, "truncated": True}, "truncated"),
        ({"truncated": True, "timeout": 1.0}, "timeout"),
        ({"reward_error": 1.0, "timeout": 1.0}, "reward_error"),
    ],
)
def test_every_answer_has_one_reason(fields: dict[str, Any], reason: str | None) -> None:
    assert error_of({"acc": 0.0, **fields}) == reason


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(*[st.booleans()] * 5), min_size=1, max_size=12))
def test_accuracy_and_errors_make_one(flags: list[tuple[bool, ...]]) -> None:
    names = ("parse_fail", "truncated", "reward_error", "timeout")
    items = [
        item(number, 0, float(acc), **dict(zip(names, map(float, rest), strict=True)))
        for number, (acc, *rest) in enumerate(flags)
    ]
    block = pooled(items)
    shares = [value for name, value in block.items() if name.startswith("error_")]
    assert len(shares) == 5
    assert block["accuracy"] + sum(shares) == pytest.approx(1.0)


def test_summary_refuses_what_it_cannot_count() -> None:
    with pytest.raises(ValueError, match="no answers"):
        summarise([])
    with pytest.raises(ValueError, match=r"item 1: acc must be 0 or 1, got 0\.5"):
        summarise([item(0, 0, 1.0), item(1, 0, 0.5)])
    with pytest.raises(ValueError, match="item 2: countdown problem 0 sample 0 occurs twice"):
        summarise([item(0, 0, 1.0), item(0, 1, 0.0), item(0, 0, 0.0)])


@pytest.mark.parametrize(("text", "n", "ks"), [("1", 1, (1,)), ("8,1,3,3", 8, (1, 3, 8)), (" 2, 4 ", 4, (2, 4))])
def test_a_list_of_k_is_read(text: str, n: int, ks: tuple[int, ...]) -> None:
    assert chosen_ks(text, n) == ks


@pytest.mark.parametrize("text", ["0", "5", "1,5", "two", "", "1,,2", "-1", "1.5"])
def test_k_is_a_whole_number_of_at_most_n_samples(text: str) -> None:
    with pytest.raises(ValueError, match="whole number from 1 to n_samples"):
        chosen_ks(text, 4)


def test_chosen_k_are_the_only_ones_in_every_block() -> None:
    # Two problems with 4 samples: 1 and 2 right. pass@3: 1 - C(3,3)/C(4,3) = 3/4, and 1 - 0.
    items = [item(0, 0, 1.0), *(item(0, n, 0.0) for n in (1, 2, 3))]
    items += [item(1, n, float(n < 2)) for n in range(4)]
    found = summarise(items, (3,))
    for block in (found["pooled"], found["mean_over_sources_unweighted"], *found["sources"].values()):
        assert {name for name in block if name.startswith("pass@")} == {"pass@3"}
        assert block["pass@3"] == pytest.approx(0.875)
