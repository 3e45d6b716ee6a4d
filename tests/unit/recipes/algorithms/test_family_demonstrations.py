"""Demonstrations beside rollouts: who votes, what each stream weighs, by hand."""

import math

import pytest
import torch

from recipes.algorithms import get_algorithm
from recipes.algorithms.base import Bare, Demonstration, Group, Weights
from recipes.algorithms.chord_mu import mu
from recipes.algorithms.chord_phi import phi
from recipes.algorithms.hpt import supervised
from recipes.algorithms.losses.terms import streams, term_sum
from tests.helpers.groups import group, settings

WITH_DEMONSTRATION = ["luffy", "chord_mu", "chord_phi", "hpt", "srft"]


def weigh(algo: str, each: Group, **changed: float) -> Weights:
    algorithm = get_algorithm(algo)
    return algorithm.weigh(each, settings(algorithm, **changed))


@pytest.mark.parametrize("algo", WITH_DEMONSTRATION)
def test_n_rollouts_start_from_the_prompt_and_the_last_row_is_the_solution(algo: str) -> None:
    from numpy.random import default_rng

    from recipes.algorithms.base import At

    algorithm = get_algorithm(algo)
    assert algorithm.rollout(At(1, 5), settings(n_rollout=3), default_rng(0)) == [Bare()] * 3 + [Demonstration()]
    assert algorithm.demonstrations == 1


# --- CHORD ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("t", "value"), [(0, 0.9), (50, 0.77552), (100, 0.475), (200, 0.05), (999, 0.05)])
def test_mu_falls_on_a_cosine_from_nine_tenths_to_a_twentieth(t: int, value: float) -> None:
    s = settings(get_algorithm("chord_mu"))
    assert mu(t, s) == pytest.approx(value, abs=1e-5)
    assert get_algorithm("chord_mu").metrics(t + 1, s)["mu"] == mu(t, s)


def test_mu_without_a_horizon_is_at_its_valley() -> None:
    assert mu(0, settings(get_algorithm("chord_mu"), T_hint=0)) == 0.05


def test_chord_mixes_the_advantage_of_rollouts_with_the_likelihood_of_the_demonstration() -> None:
    found = weigh("chord_mu", group([1.0, 0.0], demo=4))
    assert found.advantage is not None
    # Two rollouts: mean 1/2, deviation .7071; the demonstration's 1 has no vote. mu(0) = .9.
    assert found.advantage[:, 0].tolist() == pytest.approx([0.0707106, -0.0707106, 0], abs=1e-5)
    (term,) = found.terms
    assert (term.coef, term.norm, term.shape) == (pytest.approx(0.9), "rows", None)
    assert term.weights[2].tolist() == [0.25] * 4


def test_a_long_demonstration_counts_as_much_as_a_short_one() -> None:
    groups = [group([0.0, 0.0], demo=4), group([0.0, 0.0], demo=2)]
    weighed = [weigh("chord_mu", each) for each in groups]
    (found,) = streams(groups, weighed, updates=1, votes=6, length=16)
    total = sum(term_sum(torch.full(rows.shape, -1.0), rows, None).item() for rows in found.rows)
    assert [rows.sum().item() for rows in found.rows] == [0.5, 0.5]
    assert total == pytest.approx(1.0), "the mean over demonstrations of the mean over tokens, 1 nat each"


def test_phi_is_largest_where_the_policy_is_of_two_minds() -> None:
    assert phi(torch.tensor([0.0, 0.5, 0.9, 1.0])).tolist() == pytest.approx([0, 0.25, 0.09, 0])
    found = weigh("chord_phi", group([1.0, 0.0], demo=4))
    assert found.advantage is not None
    assert found.advantage[0, 0].item() == pytest.approx(0.9 * 0.7071058, abs=1e-5)
    assert (found.terms[0].coef, found.terms[0].shape) == (0.1, phi)


# --- HPT ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "ok", "gate", "expected"),
    [
        ([0.0, 0.0, 0.0, 0.0], [1, 1, 1, 1], 0.0, True),
        ([0.1, 0.1, 0.0, 0.1], [1, 1, 1, 1], 0.0, True),
        ([1.0, 0.0, 0.0, 0.0], [1, 1, 1, 1], 0.0, False),
        ([1.0, 0.0, 0.0, 0.0], [1, 1, 1, 1], 0.25, True),
        ([1.0, 0.0, 0.0, 0.0], [1, 1, 1, 0], 0.25, False),
        ([1.0, 1.0, 0.0, 0.0], [1, 1, 1, 1], 0.25, False),
        ([1.0, 0.0, 0.0, 0.0], [0, 1, 1, 1], 0.0, True),
        ([0.0, 0.0, 0.0, 0.0], [0, 0, 0, 0], 0.0, False),
        ([1.0, 1.0, 1.0, 1.0], [1, 1, 1, 1], 1.0, True),
    ],
)
def test_the_gate_is_a_share_of_the_rollouts_with_a_verdict(
    scores: list[float], ok: list[int], gate: float, expected: bool
) -> None:
    each = group(scores, ok=[bool(value) for value in ok], demo=3)
    assert supervised(each, settings(gate=gate)) is expected


def test_a_question_below_the_gate_is_learned_from_its_solution_alone() -> None:
    found = weigh("hpt", group([0.0, 0.1], demo=3))
    assert found.advantage is not None
    assert found.mask is not None
    assert not found.advantage.any()
    assert not found.mask.any(), "nothing of PPO, KL or entropy is left of its rollouts"
    assert found.terms[0].weights.tolist() == [[0, 0, 0], [0, 0, 0], [1, 1, 1]]
    assert found.metrics["supervised"] == 1


def test_a_question_above_the_gate_is_reinforced_without_the_deviation() -> None:
    found = weigh("hpt", group([1.0, 0.0, 0.0, 0.0], demo=3))
    assert found.advantage is not None
    assert found.mask is not None
    assert found.advantage[:, 0].tolist() == [0.75, -0.25, -0.25, -0.25, 0]
    assert found.mask.sum(-1).tolist() == [2, 2, 2, 2, 0]
    assert not found.terms[0].weights.any()


def test_a_question_without_a_solution_is_reinforced_though_it_fails() -> None:
    found = weigh("hpt", group([0.0, 0.1, 0.0]))
    assert found.mask is not None
    assert found.mask.all(-1).all()
    assert not found.terms[0].weights.any()


def test_a_batch_of_unsolved_questions_has_no_token_for_ppo_and_a_finite_stream() -> None:
    groups = [group([0.0, 0.0], demo=3), group([0.0, 0.0], demo=2)]
    weighed = [weigh("hpt", each) for each in groups]
    (found,) = streams(groups, weighed, updates=1, votes=6, length=16)
    assert not any(each.mask.any() for each in weighed if each.mask is not None)
    assert sum(rows.sum().item() for rows in found.rows) == pytest.approx(1.0)


# --- SRFT -----------------------------------------------------------------------------------------------------------


def test_srft_weighs_three_streams_by_the_entropy_of_each_row() -> None:
    entropy = torch.tensor([[0.0, 2.0, 7.0], [0.5, 0.5, 7.0], [1.0, 2.0, 3.0]])
    found = weigh("srft", group([1.0, 0.0], demo=3, entropy=entropy))
    likelihood, shaped, own = found.terms
    assert likelihood.weights[2].tolist() == pytest.approx([0.5 * math.exp(-2)] * 3)
    assert not likelihood.weights[:2].any()
    # Scores 1, 0 and the demonstration's 1: mean 2/3.
    assert shaped.weights[2].tolist() == pytest.approx([1 / 3] * 3)
    assert not shaped.weights[:2].any()
    # The right rollout has mean entropy 1 over its two tokens, the wrong one weighs -1 whatever its entropy.
    assert own.weights.tolist() == [pytest.approx([0.1 * math.e, 0.1 * math.e, 0]), [-1, -1, 0], [0, 0, 0]]
    assert found.advantage is not None
    assert not found.advantage.any()
    assert {term.norm for term in found.terms} == {"tokens"}


def test_padding_may_hold_anything_where_entropies_are_averaged() -> None:
    entropy = torch.tensor([[1.0, 1.0, float("nan")], [1.0, 1.0, float("inf")], [1.0, 1.0, 1.0]])
    found = weigh("srft", group([1.0, 0.0], demo=3, entropy=entropy))
    assert all(torch.isfinite(term.weights).all() for term in found.terms)


def test_srfts_second_stream_is_a_mean_over_all_demonstration_tokens() -> None:
    """Those of a group where all are right, whose advantage is 0, count as well: 3 + 3 tokens."""
    entropy = torch.ones(3, 3)
    some, all_right = (group(scores, demo=3, entropy=entropy) for scores in ([1.0, 0.0], [1.0, 1.0]))
    weighed = [get_algorithm("srft").weigh(each, settings()) for each in (some, all_right)]
    found = {each.name: each for each in streams([some, all_right], weighed, updates=1, votes=4, length=8)}
    assert found["demonstration"].rows[0][2].tolist() == pytest.approx([1 / 3 / 6] * 3)
    assert not found["demonstration"].rows[1].any()
    assert found["demonstration_nll"].rows[1][2].tolist() == pytest.approx([0.5 * math.exp(-1) / 6] * 3)
