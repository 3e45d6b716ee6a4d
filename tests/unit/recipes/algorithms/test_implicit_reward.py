"""Implicit rewards and UNA's losses against numbers worked out by hand, and their independence of batching."""

import math

import pytest
import torch

from recipes.algorithms.losses.implicit_reward import completion_log_probs, implicit_reward, pairwise_loss, una_loss


def test_log_probability_is_the_sum_over_completion_tokens_only() -> None:
    # Vocabulary of two; logits (log p, log (1-p)) give token 0 the probability p.
    def logits(*p: float) -> list[list[float]]:
        return [[math.log(each), math.log(1 - each)] for each in p]

    ids = torch.tensor([[1, 0, 1, 0], [1, 0, 0, 1]])
    # Row 0: prompt 1, completion 0 1, padding on the right; row 1: padding on the left, prompt 0, completion 0 1.
    mask = torch.tensor([[0, 1, 1, 0], [0, 0, 1, 1]])
    found = completion_log_probs(torch.tensor([logits(0.5, 0.2, 0.9, 0.9), logits(0.1, 0.25, 0.6, 0.7)]), ids, mask)
    assert found.tolist() == pytest.approx([math.log(0.5 * 0.8), math.log(0.25 * 0.4)], abs=1e-6)


def test_log_probability_of_low_precision_logits_is_summed_in_float32() -> None:
    logits = torch.zeros(1, 101, 64, dtype=torch.bfloat16)
    found = completion_log_probs(logits, torch.zeros(1, 101, dtype=torch.long), torch.ones(1, 101))
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(-100 * math.log(64), rel=1e-6)


def test_padding_may_hold_anything() -> None:
    torch.manual_seed(0)
    ids, mask = torch.randint(0, 7, (2, 5)), torch.tensor([[0, 1, 1, 0, 0], [0, 0, 1, 1, 1]])
    logits = torch.randn(2, 5, 7)
    before = completion_log_probs(logits, ids, mask)
    spoiled = logits.clone()
    spoiled[0, 2:] = float("nan")
    assert torch.equal(completion_log_probs(spoiled, ids, mask), before)


def test_implicit_reward_is_beta_times_the_log_ratio() -> None:
    reward = implicit_reward(torch.tensor([-2.0, -7.5]), torch.tensor([-3.0, -7.0]), beta=0.5)
    assert reward.tolist() == [0.5, -0.25]


# sigmoid(log 3) = 3/4 and sigmoid(-log 3) = 1/4.
REWARDS = [math.log(3), -math.log(3)]


@pytest.mark.parametrize(
    ("kind", "targets", "loss", "gradient"),
    [
        # s = (3/4, 1/4); ((1/4)^2 + (1/4)^2) / 2, gradient 2 (s - t) s (1 - s) / 2
        ("mse", [1.0, 0.0], 1 / 16, [-0.25 * 3 / 16, 0.25 * 3 / 16]),
        # (s - t) = (1/4, -1/2)
        ("mse", [0.5, 0.75], (1 / 16 + 1 / 4) / 2, [0.25 * 3 / 16, -0.5 * 3 / 16]),
        # -log 3/4 each; gradient (s - t) / 2
        ("bce", [1.0, 0.0], math.log(4 / 3), [-1 / 8, 1 / 8]),
        # t = 1/2: -(log 3/4 + log 1/4) / 2 each
        ("bce", [0.5, 0.5], math.log(16 / 3) / 2, [1 / 8, -1 / 8]),
    ],
)
def test_una_loss_and_gradient_by_hand(kind: str, targets: list[float], loss: float, gradient: list[float]) -> None:
    rewards = torch.tensor(REWARDS, requires_grad=True)
    found = una_loss(rewards, torch.tensor(targets), kind, total_rows=2)  # type: ignore[arg-type]
    found.backward()
    assert found.item() == pytest.approx(loss, abs=1e-6)
    assert rewards.grad is not None
    assert rewards.grad.tolist() == pytest.approx(gradient, abs=1e-6)


def test_pairwise_loss_and_gradient_by_hand() -> None:
    chosen = torch.tensor([math.log(3) + 2, 1.0], requires_grad=True)
    rejected = torch.tensor([2.0, 1.0], requires_grad=True)
    found = pairwise_loss(chosen, rejected, total_pairs=2)
    found.backward()
    # margins log 3 and 0: -(log 3/4 + log 1/2) / 2; gradient -(1 - sigmoid(margin)) / 2
    assert found.item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2, abs=1e-6)
    assert chosen.grad is not None
    assert rejected.grad is not None
    assert chosen.grad.tolist() == pytest.approx([-1 / 8, -1 / 4], abs=1e-6)
    assert rejected.grad.tolist() == pytest.approx([1 / 8, 1 / 4], abs=1e-6)


@pytest.mark.parametrize("kind", ["mse", "bce"])
def test_uneven_parts_of_a_step_add_up_to_the_whole(kind: str) -> None:
    torch.manual_seed(1)
    rewards, targets = torch.randn(7, dtype=torch.float64), torch.rand(7, dtype=torch.float64)
    whole = una_loss(rewards, targets, kind, total_rows=7)  # type: ignore[arg-type]
    parts = [una_loss(rewards[s], targets[s], kind, total_rows=7) for s in (slice(0, 1), slice(1, 3), slice(3, 7))]  # type: ignore[arg-type]
    assert torch.stack(parts).sum().item() == pytest.approx(whole.item(), rel=1e-12)


def test_losses_of_extreme_rewards_stay_finite() -> None:
    rewards = torch.tensor([1e4, -1e4], requires_grad=True)
    wrong = torch.tensor([0.0, 1.0])
    loss = una_loss(rewards, wrong, "bce", total_rows=2) + pairwise_loss(-rewards, rewards, total_pairs=2)
    loss.backward()
    assert math.isfinite(loss.item())
    assert rewards.grad is not None
    assert torch.isfinite(rewards.grad).all()


def test_unknown_loss_is_named() -> None:
    with pytest.raises(ValueError, match="'mae'"):
        una_loss(torch.zeros(1), torch.zeros(1), "mae", total_rows=1)  # type: ignore[arg-type]
