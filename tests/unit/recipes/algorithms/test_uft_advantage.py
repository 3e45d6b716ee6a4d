"""The UFT advantage: hand-computed group normalisation, zero where nothing may be learned."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recipes.algorithms.losses.advantage import group_advantage

# Two hint tokens, then generated ones, then padding.
HINTED = torch.tensor([[0, 0, 1, 1, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0]])


def test_two_of_four_correct_gives_plus_minus_the_textbook_value() -> None:
    scores = torch.tensor([1.0, 0.1, 0.1, 1.0])
    found = group_advantage(scores, HINTED, ["q"] * 4)
    std = math.sqrt(4 * 0.45**2 / 3)  # mean 0.55, unbiased
    expected = 0.45 / (std + 1e-6)
    assert found[0].tolist() == pytest.approx([0, 0, expected, expected, 0], abs=1e-5)
    assert found[1].tolist() == pytest.approx([0, 0, -expected, 0, 0], abs=1e-5)


def test_without_std_it_is_the_plain_difference_from_the_mean() -> None:
    found = group_advantage(torch.tensor([1.0, 0.0, 0.0, 0.0]), HINTED, ["q"] * 4, normalise_std=False)
    assert found[0, 2].item() == pytest.approx(0.75)
    assert found[1, 2].item() == pytest.approx(-0.25)


@pytest.mark.parametrize("reward", [0.0, 0.1, 1.0])
def test_groups_without_variance_teach_nothing(reward: float) -> None:
    found = group_advantage(torch.full((4,), reward), HINTED, ["q"] * 4)
    assert torch.count_nonzero(found) == 0


def test_groups_do_not_see_each_other() -> None:
    scores = torch.tensor([1.0, 0.0, 0.5, 0.5])
    found = group_advantage(scores, HINTED, ["a", "a", "b", "b"])
    assert found[0, 2] > 0 > found[1, 2]
    assert torch.count_nonzero(found[2:]) == 0


def test_rows_without_generated_tokens_take_no_part_in_the_mean() -> None:
    mask = torch.tensor([[1, 1], [1, 1], [0, 0]])
    with_padding = group_advantage(torch.tensor([1.0, 0.0, 0.0]), mask, ["q"] * 3)
    without = group_advantage(torch.tensor([1.0, 0.0]), mask[:2], ["q"] * 2)
    assert torch.equal(with_padding[:2], without)
    assert torch.count_nonzero(with_padding[2]) == 0


@given(st.lists(st.sampled_from([0.0, 0.1, 1.0]), min_size=2, max_size=8), st.permutations(range(8)))
def test_order_of_rows_does_not_matter_and_groups_sum_to_zero(rewards: list[float], order: list[int]) -> None:
    scores, mask = torch.tensor(rewards), torch.ones(len(rewards), 1)
    found = group_advantage(scores, mask, ["q"] * len(rewards)).squeeze(-1)
    assert found.sum().item() == pytest.approx(0.0, abs=1e-4)
    shuffled = [row for row in order if row < len(rewards)]
    again = group_advantage(scores[shuffled], mask, ["q"] * len(rewards)).squeeze(-1)
    assert again.tolist() == pytest.approx(found[shuffled].tolist(), abs=1e-5)
