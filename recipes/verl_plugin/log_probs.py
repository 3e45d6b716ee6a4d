"""Log-probabilities of tokens from logits, in blocks of rows.

Without flash-attention verl processes one row at a time to save memory: thousands of small operations, and as many in
the backward pass. Blocks need little memory too.
"""

import torch

BLOCK = 1 << 22
"""Logits per block: 16 MB in single precision."""


def log_probs_in_blocks(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """log softmax(logits)[labels], for verl's `logprobs_from_logits_v2`: logits (..., vocabulary), labels (...)."""
    vocabulary = logits.shape[-1]
    size = max(1, BLOCK // vocabulary)
    blocks = zip(logits.reshape(-1, vocabulary).split(size), labels.reshape(-1, 1).split(size), strict=True)
    return torch.cat([_of_block(*block) for block in blocks]).reshape(labels.shape)


def _of_block(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    if logits.dtype in (torch.float32, torch.float64):
        return logits.gather(-1, labels).squeeze(-1) - torch.logsumexp(logits, dim=-1)
    # As in verl: a logsumexp in half precision loses the digits that the difference consists of.
    return logits.log_softmax(dim=-1).gather(-1, labels).squeeze(-1)
