"""The search tree of the UFT paper, on cases done by hand."""

import json

import numpy as np
import pytest

from bench.study import theory
from bench.study.figures import Point
from bench.study.theory import METHODS, hint_length, leaves, lower_bound, measured, updated, upper_order


def test_one_step_moves_the_logits_by_the_rewards_less_their_mean() -> None:
    # Rewards 1 and .1, each action half of the time: advantages .45 and -.45, shrunk by 1 + eta beta = 1.01.
    found = updated(np.zeros(2), np.array([1.0, 0.1]), np.array([0.5, 0.5]))
    assert found.tolist() == pytest.approx([0.45 / 1.01, -0.45 / 1.01])


def test_equal_rewards_move_nothing() -> None:
    assert not updated(np.zeros(3), np.full(3, 0.1), np.full(3, 1 / 3)).any()


def test_a_tree_of_one_step_and_two_branches_is_half_right_before_anything_is_explored() -> None:
    assert {leaves(method, 2, 1, 0) for method in METHODS} == {0}


@pytest.mark.parametrize("seed", range(3))
def test_one_step_of_three_branches_needs_one_update_by_hand(seed: int) -> None:
    # Without hints every iteration has 1 + 3 leaves and finds the right one among the three: A = .6, -.3, -.3. One
    # update gives e^.594 / (e^.594 + 2 e^-.297) = .55 of it.
    assert leaves("rft", 3, 1, seed) == 4


def test_bounds() -> None:
    assert lower_bound(4, 5) == 256
    assert upper_order(2, 10) == pytest.approx(2 * 1e5 * np.log(2) ** 2 / 0.81)


def test_a_method_without_hints_gets_none_and_the_others_all_lengths() -> None:
    rng = np.random.default_rng(0)
    lengths = {method: {hint_length(method, 3, np.full(4, 0.5), rng) for _ in range(200)} for method in METHODS}
    assert lengths == {"rft": {0}, "hints only": {0, 1, 2, 3}, "uft": {0, 1, 2, 3}, "adaptive": {0, 1, 2}}


def test_what_takes_too_long_ends_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theory, "LIMIT", 100)
    assert 100 <= leaves("rft", 2, 20, 0) <= 100 + 41


def test_seeds_repeat_and_depth_costs_rft_more_than_hints() -> None:
    (shallow, deep) = measured(5, ((2, 6), (2, 10)))
    assert measured(5, ((2, 6),)) == [shallow]
    growth = {method: deep[method]["median"] / shallow[method]["median"] for method in METHODS}
    assert growth["rft"] > 2 * max(growth[method] for method in METHODS if method != "rft")
    assert deep["rft"]["median"] >= deep["B^H/4"]


def test_rollouts_until_one_half_are_read_off_a_run_by_hand() -> None:
    # From .25 at step 20 to .75 at step 40: one half at step 30, of 128 rollouts each.
    assert theory.rollouts_until_half({0: 0.0, 20: 0.25, 40: 0.75, 60: 0.9}) == 30 * 128
    assert theory.rollouts_until_half({0: 0.0, 20: 0.5}) == 20 * 128
    assert theory.rollouts_until_half({0: 0.0, 80: 0.49}) == np.inf


def test_chains_that_mostly_fail_have_no_median_and_name_what_was_made() -> None:
    cell = theory.CHAINS[2]
    runs = [{0: 0.0, 80: end} for end in (0.1, 0.2, 1.0)]
    found = {cell: {"rft": {seed: {step: Point(acc) for step, acc in run.items()} for seed, run in enumerate(runs)}}}
    (row,) = theory.on_chains(found)
    assert (row["rollouts until 1/2"], row["made"], row["seeds"]) == (None, 80 * 128, 3)
    found[cell]["rft"][1][80] = Point(0.5)
    (row,) = theory.on_chains(found)
    assert row["rollouts until 1/2"] == 80 * 128


def test_the_committed_chains_are_those_of_the_committed_runs() -> None:
    kept = json.loads((theory.OUT / "theory.json").read_text())["chains"]
    assert kept == theory.on_chains(theory.real())
    at = {(row["depth"], row["algo"]): row["rollouts until 1/2"] for row in kept}
    assert at[15, "rft"] is None
    assert at[10, "rft"] is not None
