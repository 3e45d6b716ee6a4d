"""Registers our advantage estimators with verl: "uft" (group-normalised rewards) and "score" (the bare reward)."""

from collections.abc import Sequence
from typing import Any

import torch
from verl.trainer.ppo.core_algos import register_adv_est

from recipes.algorithms.losses.advantage import group_advantage


@register_adv_est("uft")
def uft_advantage(
    token_level_rewards: torch.Tensor, response_mask: torch.Tensor, index: Sequence[str], config: Any = None, **_: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """verl's estimator signature over `group_advantage`.

    Args:
        token_level_rewards: (batch, response); a rollout's reward is the sum of its row.
        response_mask: (batch, response), 1 on generated tokens.
        index: the prompt uid of every row.

    Returns:
        advantages and returns, both (batch, response) and equal.
    """
    normalise_std = True if config is None else bool(config.get("norm_adv_by_std_in_grpo", True))
    advantages = group_advantage(token_level_rewards.sum(-1), response_mask, list(index), normalise_std=normalise_std)
    return advantages, advantages


@register_adv_est("score")
def score_advantage(
    token_level_rewards: torch.Tensor, response_mask: torch.Tensor, **_: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """A rollout's unchanged reward on each of its generated tokens, which passes the score to UNA's loss.

    Args:
        token_level_rewards, response_mask: (batch, response).

    Returns:
        advantages and returns, both (batch, response) and equal.
    """
    scores = token_level_rewards.sum(-1, keepdim=True) * response_mask
    return scores, scores
