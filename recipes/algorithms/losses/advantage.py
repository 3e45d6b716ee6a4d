"""Group-relative advantages of a batch, on generated tokens."""

from collections import defaultdict
from collections.abc import Hashable, Sequence

import torch

from recipes.algorithms.losses.group import relative


def group_advantage(
    scores: torch.Tensor,
    response_mask: torch.Tensor,
    groups: Sequence[Hashable],
    *,
    normalise_std: bool = True,
) -> torch.Tensor:
    """A_i = (r_i - mean(r)) / (std(r) + 1e-6) over the rollouts of a prompt, on every generated token.

    Args:
        scores: (batch,), one reward per rollout.
        response_mask: (batch, response), 1 on generated tokens, 0 on hint tokens and padding.
        groups: a label per rollout, the same for the same prompt and hint.
        normalise_std: False gives Dr. GRPO's A = r - mean.

    Returns:
        (batch, response) float; 0 on hint tokens and padding, in groups whose rewards are all equal, and on rows
        without generated tokens, which do not enter their group's mean.
    """
    values = torch.zeros_like(scores, dtype=torch.float32)
    members: dict[Hashable, list[int]] = defaultdict(list)
    for row, (label, generated) in enumerate(zip(groups, response_mask.bool().any(-1).tolist(), strict=True)):
        if generated:
            members[label].append(row)
    for rows in members.values():
        values[rows] = relative(scores[rows].float(), std=normalise_std)
    return values.unsqueeze(-1) * response_mask
