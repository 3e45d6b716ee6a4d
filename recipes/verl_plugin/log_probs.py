"""Log-probabilities of tokens from logits, in blocks of rows.

verl's way where flash-attention is not installed takes one row at a time, to save memory: thousands of small
operations, and as many backward. Blocks need little memory too.
"""

from collections.abc import Callable

import torch

BLOCK = 1 << 22
"""Entries of the logits that are worked on at a time: 16 MB in single precision."""

LogProbs = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def in_blocks(row_by_row: LogProbs) -> LogProbs:
    """verl's `logprobs_from_logits_v2`, in blocks; `row_by_row` is the original, kept for half precision."""

    def logprobs_from_logits(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """log softmax(logits)[labels]; logits (..., vocabulary), labels and result (...)."""
        if logits.dtype not in (torch.float32, torch.float64):
            return row_by_row(logits, labels)
        vocabulary = logits.shape[-1]
        rows = logits.reshape(-1, vocabulary)
        blocks = rows.split(max(1, BLOCK // vocabulary))
        normaliser = torch.cat([torch.logsumexp(block, dim=-1) for block in blocks])
        chosen = rows.gather(-1, labels.reshape(-1, 1)).squeeze(-1)
        return (chosen - normaliser).reshape(labels.shape)

    return logprobs_from_logits
