"""Baselines without GRPO's divisions, on groups made by hand."""

import pytest
import torch

from recipes.algorithms import get_algorithm
from recipes.algorithms.losses.advantage import group_advantage
from recipes.algorithms.losses.group import compared, right, share_right, token_mean
from tests.helpers.groups import group, settings


@pytest.mark.parametrize(
    ("algo", "scores", "expected"),
    [
        ("dr_grpo", [1.0, 0.0, 0.0, 0.0], [0.75, -0.25, -0.25, -0.25]),
        ("dr_grpo", [1.0, 0.1], [0.45, -0.45]),
        ("dr_grpo", [0.5, 0.5, 0.5], [0, 0, 0]),
        ("max_rl", [1.0, 0.0, 0.0, 0.0], [3, -1, -1, -1]),
        ("max_rl", [1.0, 1.0, 1.0, 0.0], [1 / 3, 1 / 3, 1 / 3, -1]),
        ("max_rl", [1.0, 1.0], [0, 0]),
        ("max_rl", [0.1, 0.0, 0.0, 0.0], [0, 0, 0, 0]),
        ("max_rl", [1.0, 0.1], [1, -1]),
    ],
)
def test_advantages_by_hand(algo: str, scores: list[float], expected: list[float]) -> None:
    algorithm = get_algorithm(algo)
    found = algorithm.weigh(group(scores, given=1), settings(algorithm)).advantage
    assert found is not None
    assert found[:, 1].tolist() == pytest.approx(expected)
    assert torch.equal(found[:, 1], found[:, 2])
    assert not found[:, 0].any(), "given tokens have no advantage"


def test_max_rl_is_the_gradient_of_the_logarithm_of_the_chance_to_be_right() -> None:
    """The mean of A grad log pi over rollouts is that of right rollouts less that of all."""
    scores, gradients = [1.0, 0.0, 1.0, 0.0, 0.0], torch.tensor([0.3, -1.0, 2.0, 0.7, 0.1])
    found = get_algorithm("max_rl").weigh(group(scores), settings()).advantage
    assert found is not None
    estimate = (found[:, 0] * gradients).mean()
    assert estimate.item() == pytest.approx(gradients[[0, 2]].mean().item() - gradients.mean().item(), abs=1e-6)


def test_dr_grpo_divides_by_a_constant_length_and_has_no_kl() -> None:
    algorithm = get_algorithm("dr_grpo")
    assert algorithm.loss_norm == "length"
    assert algorithm.settings["kl_coef"] == 0


@pytest.mark.parametrize("std", [True, False])
def test_compared_is_the_estimators_advantage_of_one_prompt(std: bool) -> None:
    for scores in ([1.0, 0.1, 0.0, 0.0], [0.3, 0.3], [0.2, 0.9, 0.9], [1.0]):
        each = group(scores, given=1)
        theirs = group_advantage(each.scores, each.gen, ["q"] * len(scores), normalise_std=std)
        assert torch.allclose(compared(each, std=std) * each.gen, theirs)


def test_right_is_above_one_half_and_has_a_verdict() -> None:
    each = group([1.0, 0.1, 1.0, 0.5], ok=[True, True, False, True])
    assert right(each).tolist() == [True, False, False, False]
    assert share_right(each) == pytest.approx(1 / 3)
    assert share_right(group([1.0], ok=[False])) is None


def test_a_mean_over_no_token_is_zero() -> None:
    values, mask = torch.tensor([[1.0, 3.0], [float("nan"), 5.0]]), torch.tensor([[True, True], [False, False]])
    assert token_mean(values, mask).tolist() == [[2.0], [0.0]]
