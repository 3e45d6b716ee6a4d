"""UNA's regression of the implicit reward on the score of own rollouts (arXiv 2408.15339, equations 7 and 13)."""

import torch

from recipes.alignment import UnaTarget
from recipes.losses.implicit_reward import implicit_reward


def implicit_reward_error(
    log_probs: torch.Tensor,
    ref_log_prob: torch.Tensor,
    response_mask: torch.Tensor,
    scores: torch.Tensor,
    *,
    beta: float,
    target: UnaTarget,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(error squared, implicit reward) of every rollout; a rollout without a generated token has error 0.

    r = beta sum_t (log pi - log pi_ref) over generated tokens; the error is sigmoid(r) - score, or r - score for "raw".

    Args:
        log_probs, ref_log_prob, response_mask: (batch, response); masked-out positions may hold anything.
        scores: (batch,), in [0, 1] for "sigmoid".
        beta: scale of the implicit reward.
        target: what is held against the score.

    Returns:
        two tensors (batch,): squared errors, to be summed and divided by the rollouts of the whole optimiser step, and
        implicit rewards without gradient.
    """
    mask = response_mask.bool()
    policy, reference = (
        torch.where(mask, values, torch.zeros_like(values)).sum(-1) for values in (log_probs, ref_log_prob)
    )
    reward = implicit_reward(policy, reference, beta)
    guess = torch.sigmoid(reward) if target == "sigmoid" else reward
    error = torch.where(mask.any(-1), guess - scores, torch.zeros_like(guess))
    return error.square(), reward.detach()
