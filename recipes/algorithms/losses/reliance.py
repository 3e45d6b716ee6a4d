"""Hint reliance: how much hinted successes owe to their hints, in nats per token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def hint_reliance(
    given: Sequence[torch.Tensor], bare: Sequence[torch.Tensor], generated: Sequence[torch.Tensor]
) -> float:
    """sum_i sum_t [log pi(y_it | q_i, h_i, y_i<t) - log pi(y_it | q_i, y_i<t)] / (generated tokens of all i).

    i: correct rollouts with a hint h_i; t: their generated tokens; pi: the policy that drew them. 0 if the policy would
    generate the same without the hint, large if success depends on it; may be negative. The name is from arXiv
    2604.00698, which was not read; the definition is this repository's.

    Args:
        given, bare: per rollout, (L,) log_probs of the response after the hint, with and without it.
        generated: per rollout, (L,) bool, generated tokens.
    """
    differences = [(a - b)[where] for a, b, where in zip(given, bare, generated, strict=True)]
    return float(sum(float(each.sum()) for each in differences)) / max(1, sum(len(each) for each in differences))
