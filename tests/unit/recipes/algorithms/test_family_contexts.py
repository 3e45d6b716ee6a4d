"""Scoring under another context: what each row is scored beside, and what becomes of the difference. By hand."""

from typing import Any

import numpy as np
import pytest
import torch

from recipes.algorithms import get_algorithm
from recipes.algorithms.base import At, Bare, Group, Hint, Weights
from recipes.algorithms.hints.schedule import cosine
from recipes.algorithms.prefix_rft import HIGH, LOW, doubted, rollout
from tests.helpers.groups import group, settings

NAN = float("nan")


def weigh(algo: str, each: Group, **changed: Any) -> Weights:
    algorithm = get_algorithm(algo)
    return algorithm.weigh(each, settings(algorithm, **changed))


def contexts(algo: str, each: Group) -> list[Any]:
    ask = get_algorithm(algo).context
    assert ask is not None
    return [ask(row, each, settings()) for row in range(len(each.ok))]


def scored(values: list[list[float]], scores: list[float], **known: Any) -> Group:
    """Rollouts of two tokens whose log-probabilities are -.5 and, under the context, higher by these."""
    return group(scores, rescored=torch.tensor(values) - 0.5, **known)


# --- what a row is scored beside -------------------------------------------------------------------------------------


@pytest.mark.parametrize("algo", ["opsd", "rlsd"])
def test_every_row_is_scored_beside_the_solution_with_the_end_of_the_prompt_as_it_was(algo: str) -> None:
    each = group([0.0, 1.0], messages=({"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1?"}))
    for found in contexts(algo, each):
        assert found[0] == {"role": "system", "content": "Be brief."}
        assert found[1]["role"] == "user"
        assert found[1]["content"].endswith("1+1?")
        assert "It is 2." in found[1]["content"]
    assert each.messages[1]["content"] == "1+1?"


@pytest.mark.parametrize("algo", ["opsd", "rlsd"])
def test_a_question_without_a_solution_is_not_scored_again(algo: str) -> None:
    assert contexts(algo, group([0.0, 1.0], solution="")) == [None, None]


def test_braces_in_a_solution_stay() -> None:
    assert r"\frac{1}{2} {text}" in contexts("opsd", group([0.0], solution=r"\frac{1}{2} {text}"))[0][0]["content"]


def test_sdpo_teaches_by_the_first_right_sibling_and_never_by_oneself() -> None:
    found = contexts("sdpo", group([0.1, 1.0, 0.0, 1.0]))
    assert [each is not None for each in found] == [True] * 4
    assert ["answer 1" in each[0]["content"] for each in found] == [True, False, True, True]
    assert "answer 3" in found[1][0]["content"]
    alone = contexts("sdpo", group([0.0, 1.0]))
    assert [each is None for each in alone] == [False, True]
    assert contexts("sdpo", group([0.0, 0.1])) == [None, None]


def test_a_sibling_whose_verdict_failed_teaches_nobody() -> None:
    assert contexts("sdpo", group([0.0, 1.0], ok=[True, False])) == [None, None]


def test_sdpo_counts_the_taught_among_rollouts_that_have_a_verdict() -> None:
    def taught(scores: list[float], ok: list[bool]) -> dict[str, float]:
        return dict(weigh("sdpo", scored([[0.0, 0.0]] * len(scores), scores, ok=ok)).metrics)

    assert taught([1.0, 0.0, 0.0, 0.0], [True, True, False, False]) == {"taught": 0.5}
    assert taught([1.0, 0.0], [False, False]) == {}


# --- what becomes of the difference ----------------------------------------------------------------------------------


@pytest.mark.parametrize("algo", ["opsd", "sdpo"])
def test_the_advantage_of_a_token_is_what_the_context_adds_to_its_log_probability(algo: str) -> None:
    found = weigh(algo, scored([[0.3, -0.2], [0.0, 1.5]], [1.0, 0.0])).advantage
    assert found is not None
    assert torch.allclose(found, torch.tensor([[0.3, -0.2], [0.0, 1.5]]), atol=1e-6)


def test_opsd_learns_from_one_rollout_whatever_its_reward() -> None:
    found = weigh("opsd", scored([[0.3, -0.2]], [0.0])).advantage
    assert found is not None
    assert found[0].tolist() == pytest.approx([0.3, -0.2])
    assert not get_algorithm("opsd").compares_rollouts
    assert get_algorithm("sdpo").compares_rollouts


def test_given_tokens_padding_and_rows_without_a_verdict_have_no_evidence() -> None:
    rescored = torch.tensor([[3.0, 3.0], [3.0, -1.5], [NAN, NAN]])
    rows: dict[str, Any] = {"given": [1, 0, 0], "generated": [1, 2, 2], "ok": [True, True, False]}
    found = weigh("opsd", group([1.0, 0.0, 0.0], rescored=rescored, **rows)).advantage
    assert found is not None
    assert found.tolist() == [[0, 3.5], [3.5, -1.0], [0, 0]]


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (1.0, [[1.2, 0.8], [-0.8, -1.2]]),
        (0.5, [[1.1, 0.9], [-0.9, -1.1]]),
        (0.0, [[1.0, 1.0], [-1.0, -1.0]]),
    ],
)
def test_rlsd_keeps_the_rewards_sign_and_takes_the_size_from_the_solution(
    weight: float, expected: list[list[float]]
) -> None:
    """D = +1, -1 in both rows; exp(1) and exp(-1) are clipped to 1.2 and .8. A of [1, 0] is +-.7071: in units of it."""
    found = weigh("rlsd", scored([[1.0, -1.0], [1.0, -1.0]], [1.0, 0.0]), evidence_weight=weight).advantage
    assert found is not None
    unit = found.new_tensor(0.5**0.5)
    assert torch.allclose(found / unit, torch.tensor(expected), atol=1e-5)


def test_rlsd_inside_the_clip_is_the_ratio_itself() -> None:
    found = weigh("rlsd", scored([[0.1, 0.0], [0.1, 0.0]], [1.0, 0.0]), evidence_weight=1.0).advantage
    assert found is not None
    assert (found / 0.5**0.5)[:, 0].tolist() == pytest.approx([np.exp(0.1), -np.exp(-0.1)], abs=1e-5)


def test_rlsd_without_variance_or_with_immense_evidence_stays_finite() -> None:
    flat = weigh("rlsd", scored([[9.0, -9.0], [1.0, 1.0]], [1.0, 1.0])).advantage
    immense = weigh("rlsd", scored([[900.0, -900.0], [900.0, -900.0]], [1.0, 0.0])).advantage
    assert flat is not None
    assert immense is not None
    assert not flat.any()
    assert torch.isfinite(immense).all()


# --- prefixes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("t", "value"), [(0, 0.95), (100, 0.5), (200, 0.05), (500, 0.05)])
def test_the_least_prefix_falls_on_a_cosine(t: int, value: float) -> None:
    assert cosine(t, 200, HIGH, LOW) == pytest.approx(value)


def test_one_rollout_of_the_group_starts_from_a_prefix() -> None:
    shares = []
    for seed in range(300):
        *bare, last = rollout(At(101, 5), settings(), np.random.default_rng(seed))
        assert bare == [Bare()] * 3
        assert isinstance(last, Hint)
        assert last.share is not None
        shares.append(last.share)
    assert 0.5 <= min(shares) < 0.53
    assert 0.92 < max(shares) <= 0.95


def test_a_fifth_of_a_prefix_is_trained_where_the_policy_is_least_sure() -> None:
    entropy = torch.tensor([[0.1, 0.9, 0.3, 0.2, 0.5, 9.0, 9.0], [0.4] * 7, [0.2, 0.1, 7.0, 7.0, 7.0, 7.0, 7.0]])
    each = group([1.0, 0.0, 0.0], given=[5, 0, 2], generated=[2, 2, 2], entropy=entropy)
    assert doubted(each).nonzero().tolist() == [[0, 1], [2, 0]], "one of five, none of none, one of two (rounded up)"
    found = weigh("prefix_rft", each)
    assert found.mask is not None
    assert found.advantage is not None
    assert found.mask.nonzero().tolist() == [[0, 1], [0, 5], [0, 6], [1, 0], [1, 1], [2, 0], [2, 2], [2, 3]]
    assert found.advantage[0].tolist() == pytest.approx([0, 2 / 3, 0, 0, 0, 2 / 3, 2 / 3])
    assert found.advantage[2].tolist() == pytest.approx([-1 / 3, 0, -1 / 3, -1 / 3, 0, 0, 0])


def test_ten_prefix_tokens_have_two_trained() -> None:
    each = group([1.0, 0.0], given=[10, 0], entropy=torch.arange(12.0).expand(2, 12).clone())
    assert doubted(each)[0].nonzero().flatten().tolist() == [8, 9]
