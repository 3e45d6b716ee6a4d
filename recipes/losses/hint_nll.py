"""Negative log-likelihood of hint tokens, the supervised half of UFT (arXiv 2505.16984, equation 3.3)."""

import torch

from recipes.algorithms.base import HintAggregation


def hint_mask(loss_mask: torch.Tensor) -> torch.Tensor:
    """Which response positions are hint tokens.

    Args:
        loss_mask: (batch, response) with 1 on generated tokens, 0 on hint tokens and on padding behind the end.

    Returns:
        (batch, response) bool: the zeros before the first generated token. Rows without any generated token
        (verl's synthetic padding rows) have none.
    """
    generated = loss_mask.bool()
    return (generated.long().cumsum(-1) == 0) & generated.any(-1, keepdim=True)


def hint_nll_sum(log_probs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """-sum of log pi(hint token), in nats. log_probs, mask: (batch, response). Masked-out positions may be NaN."""
    return -torch.where(mask, log_probs, torch.zeros_like(log_probs)).sum()


def hint_nll_scale(aggregation: HintAggregation, *, hint_tokens: float, sequences: float) -> float:
    """What the sum over a micro-batch is divided by, so that micro-batches and ranks add up to one global number.

    Args:
        aggregation: "token-mean" divides by the hint tokens of an optimiser step (what the UFT code approximates);
            "seq-mean-token-sum" divides by its sequences (what the paper writes: one beta for KL and log-likelihood).
        hint_tokens: hint tokens of the whole optimiser step, over all ranks and micro-batches.
        sequences: sequences of the whole optimiser step.
    """
    if aggregation == "token-mean":
        return max(hint_tokens, 1.0)
    if aggregation == "seq-mean-token-sum":
        return float(sequences)
    raise ValueError(f"unknown aggregation {aggregation!r}; use 'token-mean' or 'seq-mean-token-sum'")
