"""UNA's regression on own rollouts, by hand: two rollouts of three tokens, one of them cut short, and one empty."""

import math
from types import SimpleNamespace

import pytest
import torch

from recipes.algorithms.base import Rows
from recipes.algorithms.una_online import loss

REF = torch.tensor([[-1.0, -2.0, -3.0], [-1.0, -1.0, -1.0], [-1.0, -1.0, -1.0]])
MASK = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0]])
SCORES = torch.tensor([1.0, 0.1, 0.0])
# Log-ratios: 0.5 - 1 + 2 = 1.5; 0.3 (what is masked does not count); nothing.
RATIO = torch.tensor([[0.5, -1.0, 2.0], [0.3, 9.0, 9.0], [9.0, 9.0, 9.0]])
BETA = 0.2


def implicit_reward_error(
    log_probs: torch.Tensor, ref: torch.Tensor, mask: torch.Tensor, scores: torch.Tensor, *, beta: float, target: str
) -> tuple[torch.Tensor, torch.Tensor]:
    errors, watched = loss(log_probs, Rows(scores, mask.bool(), ref), SimpleNamespace(beta=beta, una_target=target))
    return errors, watched["implicit_reward"]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_the_sigmoid_of_the_implicit_reward_is_held_against_the_score() -> None:
    errors, rewards = implicit_reward_error(REF + RATIO, REF, MASK, SCORES, beta=BETA, target="sigmoid")
    assert rewards.tolist() == pytest.approx([0.3, 0.06, 0.0], abs=1e-6)
    # The third is held against its score of 0; one without a verdict is not shown (test_failed_rows_in_losses.py).
    assert errors.tolist() == pytest.approx([(sigmoid(0.3) - 1) ** 2, (sigmoid(0.06) - 0.1) ** 2, 0.25], abs=1e-6)


def test_the_raw_reward_is_held_against_the_score() -> None:
    errors, _ = implicit_reward_error(REF + RATIO, REF, MASK, SCORES, beta=BETA, target="raw")
    assert errors.tolist() == pytest.approx([(0.3 - 1) ** 2, (0.06 - 0.1) ** 2, 0.0], abs=1e-6)


def test_the_gradient_raises_good_answers_and_touches_generated_tokens_only() -> None:
    log_probs = (REF + RATIO).requires_grad_()
    errors, rewards = implicit_reward_error(log_probs, REF, MASK, SCORES, beta=BETA, target="sigmoid")
    assert not rewards.requires_grad
    errors.sum().backward()
    s = sigmoid(0.3)
    # d (s - 1)^2 / d log pi(token) = 2 (s - 1) s (1 - s) beta, the same on every token of the rollout.
    assert log_probs.grad is not None
    assert log_probs.grad[0].tolist() == pytest.approx([2 * (s - 1) * s * (1 - s) * BETA] * 3, abs=1e-6)
    assert log_probs.grad[0, 0] < 0 < log_probs.grad[1, 0]
    assert log_probs.grad[1, 1:].tolist() == [0, 0]
    assert log_probs.grad[2].tolist() == [0, 0, 0]


def test_numbers_behind_the_mask_may_be_anything() -> None:
    broken = torch.where(MASK.bool(), REF + RATIO, torch.full_like(REF, torch.nan)).requires_grad_()
    errors, _ = implicit_reward_error(broken, REF, MASK, SCORES, beta=BETA, target="sigmoid")
    errors.sum().backward()
    assert torch.isfinite(errors).all()
    assert broken.grad is not None
    assert torch.isfinite(broken.grad).all()
