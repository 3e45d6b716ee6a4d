"""What the rollouts of one prompt have in common, for `weigh` and `remember`: who is right, how far from the mean.

Methods of the tensors alone: algorithms' files are read without torch for --help.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recipes.algorithms.base import Group

if TYPE_CHECKING:
    import torch

RIGHT = 0.5
"""A rollout is right above this score: built-in rewards give 1 for a correct answer and .1 for a readable one."""


def right(group: Group) -> torch.Tensor:
    """(n,) bool: generated rows with a verdict that are right."""
    return group.scored & (group.verdicts > RIGHT)


def share_right(group: Group) -> float | None:
    """Share of right rows among those with a verdict; None without any."""
    scored = int(group.scored.sum())
    return int(right(group).sum()) / scored if scored else None


def token_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(n, 1) mean of every row over the tokens of `mask` (n, L); 0 on rows without any."""
    return (values.where(mask, values.new_zeros(())).sum(-1) / mask.sum(-1).clamp(min=1)).unsqueeze(-1)


def compared(group: Group, voting: torch.Tensor | None = None, *, std: bool) -> torch.Tensor:
    """A_i = (r_i - mean(r)) / (std(r) + 1e-6) among the voting rows, (n, 1); 0 on the others and where all are equal.

    Args:
        voting: (n,) bool; None: generated rows with a verdict.
        std: False leaves out the division, as Dr. GRPO.
    """
    votes = group.scored if voting is None else voting & group.ok
    values, rewards = group.scores.new_zeros(len(votes)), group.scores[votes]
    if len(rewards) > 1 and bool((rewards != rewards[0]).any()):
        centred = rewards - rewards.mean()
        values[votes] = centred / (rewards.std() + 1e-6) if std else centred
    return values.unsqueeze(-1)
