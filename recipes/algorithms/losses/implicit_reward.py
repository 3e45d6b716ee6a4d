"""The implicit reward of a policy, and losses on it: UNA (arXiv 2408.15339), which includes DPO.

Each loss is a sum over the given rows, divided by the rows of the whole optimiser step: the total does not depend on
micro-batches and devices. (The paper prints equations 10 to 13 with a stray minus sign.)
"""

import torch
import torch.nn.functional as F

from recipes.algorithms.una import UnaLoss


def completion_log_probs(logits: torch.Tensor, input_ids: torch.Tensor, completion_mask: torch.Tensor) -> torch.Tensor:
    """log pi(y|x), the sum of log pi(token | preceding tokens) over the completion.

    Args:
        logits: (batch, length, vocabulary), any float type; summed in float32.
        input_ids: (batch, length) prompt and completion, padded on either side.
        completion_mask: (batch, length), 1 on completion tokens, 0 on the prompt and on padding.

    Returns:
        (batch,) float32, in nats.
    """
    taken = completion_mask[:, 1:].bool()
    # Completion positions only: the prompt is often longer, and float32 logits are the largest tensor.
    predicted = logits[:, :-1][taken].float()
    tokens = input_ids[:, 1:][taken].unsqueeze(-1)
    log_probs = predicted.gather(-1, tokens).squeeze(-1) - predicted.logsumexp(-1)
    return torch.zeros(taken.shape, device=logits.device).masked_scatter(taken, log_probs).sum(-1)


def implicit_reward(log_probs: torch.Tensor, ref_log_probs: torch.Tensor, beta: float) -> torch.Tensor:
    """r(x, y) = beta log(pi(y|x) / pi_ref(y|x)): UNA's generalised implicit reward with f(x) = c = 0. All (batch,)."""
    return beta * (log_probs - ref_log_probs)


def una_loss(rewards: torch.Tensor, targets: torch.Tensor, kind: UnaLoss, *, total_rows: int) -> torch.Tensor:
    """UNA on absolute feedback: fits s = sigmoid(r), equation 8, to a target.

    "mse": sum (s - target)^2 / total_rows, equation 11 for targets 0 and 1 and equation 13 for scores in between;
    "bce": sum -(target log s + (1 - target) log(1 - s)) / total_rows, equation 12.

    Args:
        rewards: (batch,) implicit rewards.
        targets: (batch,) in [0, 1].
        total_rows: rows of the optimiser step, over all micro-batches and devices.

    Raises:
        ValueError: unknown kind.
    """
    if kind == "mse":
        return (rewards.sigmoid() - targets).square().sum() / total_rows
    if kind == "bce":
        return F.binary_cross_entropy_with_logits(rewards, targets, reduction="sum") / total_rows
    raise ValueError(f"unknown loss {kind!r}; use 'mse' or 'bce'")


def pairwise_loss(chosen: torch.Tensor, rejected: torch.Tensor, *, total_pairs: int) -> torch.Tensor:
    """sum -log sigmoid(r(x, y_w) - r(x, y_l)) / total_pairs: equation 10, which is DPO.

    Args:
        chosen, rejected: (pairs,) implicit rewards of the better and the worse completions.
        total_pairs: pairs of the optimiser step, over all micro-batches and devices.
    """
    return -F.logsigmoid(chosen - rejected).sum() / total_pairs
