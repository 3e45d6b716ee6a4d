"""What a hinted success owes to its hint. By hand."""

import math

import pytest
import torch

from recipes.algorithms.losses.reliance import hint_reliance


def log(*probabilities: float) -> torch.Tensor:
    return torch.tensor([math.log(p) for p in probabilities])


def test_it_is_the_nats_a_token_that_the_hint_is_worth() -> None:
    # Three tokens: log 2, log 4 and, where the hint was in the way, -log 2; a mean over tokens, not over rollouts.
    given, bare = [log(0.5, 1.0), log(0.25)], [log(0.25, 0.25), log(0.5)]
    tokens = [torch.tensor([True, True]), torch.tensor([True])]
    assert hint_reliance(given, bare, tokens) == pytest.approx(2 * math.log(2) / 3)


def test_what_nobody_generated_is_left_out() -> None:
    tokens = [torch.tensor([True, False])]
    assert hint_reliance([log(0.5, 1.0)], [torch.tensor([math.log(0.25), math.nan])], tokens) == pytest.approx(
        math.log(2)
    )


def test_a_policy_that_needs_no_hint_relies_on_none() -> None:
    assert hint_reliance([log(0.5)], [log(0.5)], [torch.tensor([True])]) == 0
    assert hint_reliance([log(0.5)], [log(0.1)], [torch.tensor([False])]) == 0
