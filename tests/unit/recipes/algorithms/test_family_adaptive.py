"""Adaptive UFT: what it believes of each length, what it draws, what it keeps. By hand."""

from collections import Counter

import numpy as np
import pytest
import torch

from recipes.algorithms.base import At, Bare, Hint, Json
from recipes.algorithms.uft_adaptive import ALGORITHM, place, remember, rollout, success
from tests.helpers.groups import group, settings

S = settings(ALGORITHM)


def drawn(at: At, draws: int = 1500) -> dict[int, float]:
    found = Counter(rollout(at, S, np.random.default_rng(seed)).segments for seed in range(draws))
    return {k: found[k] / draws for k in range(at.segments + 1)}


@pytest.mark.parametrize(("n", "places"), [(5, [0, 1, 2, 3, 4, 5]), (3, [0, 2, 3, 5]), (1, [0, 5]), (0, [0])])
def test_lengths_of_all_solutions_share_one_grid_of_shares(n: int, places: list[int]) -> None:
    assert [place(k, n) for k in range(n + 1)] == places


def test_where_nothing_is_known_all_lengths_are_as_likely() -> None:
    assert success(At(1, 3)) == [0.5] * 4
    assert list(drawn(At(1, 3)).values()) == pytest.approx([0.25] * 4, abs=0.05)


def test_a_problems_own_tries_outweigh_the_pool_as_they_grow() -> None:
    pooled = [0.2, 0.4, 0.6, 0.8, 0.9, 1.0]
    assert success(At(9, 5, None, pooled)) == pytest.approx(pooled)
    few, many = [[0.0, 0.0]] * 6, [[0.0, 0.0]] * 6
    few[2], many[2] = [0.0, 4.0], [0.0, 20.0]
    assert success(At(9, 5, few, pooled))[2] == pytest.approx(4 * 0.6 / 8)
    assert success(At(9, 5, many, pooled))[2] == pytest.approx(4 * 0.6 / 24)
    assert success(At(9, 5, few, pooled))[3] == pytest.approx(0.8), "other lengths are not touched"


def test_lengths_are_drawn_where_success_is_nearest_to_one_half() -> None:
    found = drawn(At(9, 5, None, [0.0, 0.1, 0.3, 0.5, 0.9, 1.0]))
    # exp of -5, -4, -2, 0, -4, -5: .0067 .0183 .1353 1 .0183 .0067, sum 1.1854; 98 % of it and a 300th each.
    assert list(found.values()) == pytest.approx([0.009, 0.0185, 0.1152, 0.83, 0.0185, 0.009], abs=0.02)
    assert all(found.values()), "every length is looked at now and then"


def test_hints_end_where_the_bare_success_is_above_one_half() -> None:
    assert drawn(At(9, 5, None, [0.51, 0.6, 0.7, 0.8, 0.9, 1.0]))[0] > 0.95
    assert drawn(At(9, 5, None, [0.49, 0.6, 0.7, 0.8, 0.9, 1.0]))[0] < 0.6
    # The pool is past one half, but this problem has failed twelve times in a row without a hint.
    hard = [[0.0, 12.0], *[[0.0, 0.0]] * 5]
    assert drawn(At(9, 5, hard, [0.51, 0.5, 0.7, 0.8, 0.9, 1.0]))[0] < 0.1


def test_a_group_moves_the_pool_by_a_twentieth_and_is_the_problems_evidence() -> None:
    past, common, due = remember(group([1.0, 1.0, 1.0, 0.1], plans=[Hint(2)] * 4), None, None, S)
    assert common == pytest.approx([0.5, 0.5, 0.5 + 0.05 * 0.25, 0.5, 0.5, 0.5])
    assert past == [[0, 0], [0, 0], [3, 4], [0, 0], [0, 0], [0, 0]]
    assert not due
    past, common, _ = remember(group([0.0, 0.0, 1.0, 0.0], plans=[Bare()] * 4), past, common, S)
    assert past == [[1, 4], [0, 0], [1.5, 2], [0, 0], [0, 0], [0, 0]]
    assert common[0] == pytest.approx(0.5 - 0.05 * 0.25)


def test_verdicts_that_failed_are_no_tries_and_a_group_of_them_is_forgotten() -> None:
    past, _, _ = remember(group([1.0, 0.0], ok=[True, False]), None, None, S)
    assert past[0] == [1, 1]
    kept: Json = [[1.0, 2.0]] * 6
    assert remember(group([0.0, 0.0], ok=[False, False]), kept, None, S) == (kept, None, ())


def test_what_was_remembered_is_not_changed_in_place() -> None:
    past, common = [[1.0, 2.0]] * 6, [0.4] * 6
    remember(group([1.0, 0.0]), past, common, S)
    assert (past, common) == ([[1.0, 2.0]] * 6, [0.4] * 6)


def test_hint_tokens_weigh_by_the_policys_doubt_and_rewards_are_verls() -> None:
    found = ALGORITHM.weigh(group([1.0, 0.0], given=2), S)
    (term,) = found.terms
    assert found.advantage is None
    assert (term.name, term.coef, term.norm) == ("hint_doubt", 0.001, "tokens")
    assert term.weights.tolist() == [[1, 1, 0, 0]] * 2
    assert term.shape is not None
    assert term.shape(torch.tensor([0.0, 0.25, 1.0])).tolist() == [1, 0.75, 0]
    assert ALGORITHM.weigh(group([1.0], given=1), settings(hint_nll_agg="seq-mean-token-sum")).terms[0].norm == (
        "sequences"
    )


def test_on_a_policy_that_masters_longer_hints_first_it_walks_down_to_no_hint() -> None:
    """A policy right with probability .95 given at least `need` of 5 segments, which sinks by one every 25 steps."""
    common: Json = None
    pasts: dict[int, Json] = {}
    rng, given = np.random.default_rng(0), []
    for step in range(1, 161):
        need = max(0, 5 - step // 25)
        lengths = []
        for prompt in range(8):
            plan = rollout(At(step, 5, pasts.get(prompt), common), S, np.random.default_rng((step, prompt)))
            chance = 0.95 if plan.segments >= need else 0.5 if plan.segments == need - 1 else 0.02
            scores = (rng.random(4) < chance).astype(float).tolist()
            lengths.append(plan.segments)
            pasts[prompt], common, _ = remember(group(scores, plans=[plan] * 4), pasts.get(prompt), common, S)
        given.append(sum(lengths) / len(lengths))
    thirds = [sum(given[at : at + 25]) / 25 for at in (15, 75, 135)]
    assert thirds[0] > thirds[1] > thirds[2]
    assert thirds[2] < 0.5
