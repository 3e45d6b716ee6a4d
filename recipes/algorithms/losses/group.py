"""Group statistics for `weigh` and `remember`: which rollouts are correct, and their relative advantages.

Only tensor methods: --help reads algorithm files without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recipes.algorithms.base import Group

if TYPE_CHECKING:
    import torch

RIGHT = 0.5
"""A rollout that scores above this is correct: built-in rewards give 1 for a correct answer, .1 for a readable one."""


def right(group: Group) -> torch.Tensor:
    """(n,) bool: correct ones among generated rows with a reward."""
    return group.scored & (group.verdicts > RIGHT)


def share_right(group: Group) -> float | None:
    """Share of correct rows among generated rows with a reward; None without any."""
    scored = int(group.scored.sum())
    return int(right(group).sum()) / scored if scored else None


def token_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(n, 1): mean of each row over the tokens in `mask` (n, L); 0 on rows without any."""
    return (values.where(mask, values.new_zeros(())).sum(-1) / mask.sum(-1).clamp(min=1)).unsqueeze(-1)


def relative(rewards: torch.Tensor, *, std: bool) -> torch.Tensor:
    """(r_i - mean(r)) / (std(r) + 1e-6), or without the division; all 0 if all rewards are equal."""
    if not len(rewards) or bool((rewards == rewards[0]).all()):
        return rewards.new_zeros(len(rewards))
    centred = rewards - rewards.mean()
    return centred / (rewards.std() + 1e-6) if std else centred


def compared(group: Group, voting: torch.Tensor | None = None, *, std: bool) -> torch.Tensor:
    """`relative` rewards of the voting rows, (n, 1); 0 on the others.

    Args:
        voting: (n,) bool; None means generated rows with a reward.
        std: False omits the division, as in Dr. GRPO.
    """
    votes = group.scored if voting is None else voting & group.ok
    values = group.scores.new_zeros(len(votes))
    values[votes] = relative(group.scores[votes], std=std)
    return values.unsqueeze(-1)
