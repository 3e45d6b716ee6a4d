"""LUFFY on hand-made groups: who votes in the baseline, what the demonstration's tokens weigh."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recipes.algorithms.base import At, Bare, Demonstration, Group
from recipes.algorithms.luffy import ALGORITHM, rollout, shape, weigh

S = SimpleNamespace(n_rollout=3, response_length=8)


def group(scores: list[float], ok: list[bool], *, shown: bool = True) -> Group:
    """Three rollouts of two tokens, and the demonstration of three."""
    gen = torch.tensor([[1, 1, 0], [1, 1, 0], [1, 1, 0], [0, 0, 0]]).bool() & torch.tensor(ok).unsqueeze(-1)
    demo = torch.zeros(4, 3, dtype=torch.bool)
    demo[3] = shown
    return Group(
        scores=torch.tensor(scores),
        ok=torch.tensor(ok),
        plans=(Bare(), Bare(), Bare(), Demonstration()),
        given=torch.zeros(4, 3, dtype=torch.bool),
        gen=gen,
        demo=demo,
        old=torch.zeros(4, 3),
        key="q",
        step=1,
    )


def test_the_demonstration_votes_and_nothing_is_divided_by_the_spread() -> None:
    found = weigh(group([0.0, 0.0, 1.0, 1.0], [True] * 4), S)
    assert found.advantage is not None
    assert found.advantage.tolist() == [[-0.5, -0.5, 0], [-0.5, -0.5, 0], [0.5, 0.5, 0], [0, 0, 0]]
    (term,) = found.terms
    assert term.weights.tolist() == [[0] * 3, [0] * 3, [0] * 3, [0.5] * 3]
    assert (term.norm, term.shape) == ("length", shape)


def test_where_every_rollout_is_wrong_the_demonstration_alone_is_right() -> None:
    found = weigh(group([0.0, 0.0, 0.0, 1.0], [True] * 4), S)
    assert found.advantage is not None
    assert found.advantage[0].tolist() == [-0.25, -0.25, 0]
    assert found.terms[0].weights[3].tolist() == [0.75] * 3


def test_a_failed_verdict_has_no_vote() -> None:
    found = weigh(group([0.0, 0.0, 1.0, 1.0], [True, False, True, True]), S)
    assert found.advantage is not None
    assert found.advantage[0, 0].item() == pytest.approx(-2 / 3)
    assert found.advantage[1].tolist() == [0, 0, 0]


def test_a_prompt_without_a_demonstration_is_compared_among_its_rollouts() -> None:
    found = weigh(group([0.0, 0.0, 1.0, 0.0], [True] * 4, shown=False), S)
    assert found.advantage is not None
    assert found.advantage[2, 0].item() == pytest.approx(2 / 3)
    assert not found.terms[0].weights.any()


def test_the_shape_is_largest_where_the_policy_doubts() -> None:
    assert shape(torch.tensor([0.1])).item() == pytest.approx(0.25)  # its maximum, at p = gamma
    assert shape(torch.tensor([1.0])).item() == pytest.approx(0.1 / 1.21)


def test_there_is_one_demonstration_beside_the_rollouts() -> None:
    plans = rollout(At(1, 5), S, np.random.default_rng(0))
    assert plans == [Bare(), Bare(), Bare(), Demonstration()]
    assert ALGORITHM.demonstrations == 1
