"""Prefix-RFT, supervised and reinforcement fine-tuning blended by prefixes: Huang et al., arXiv 2507.01679.

    n - 1 rollouts from the prompt, one from a share of the solution ~ U(low(t), .95), low on a cosine from .95 to .05
    A_i = r_i - mean(r) over all n, on generated tokens and on the fifth of the prefix with the highest entropy
    L   = -(1 / (N n_max)) sum min(rho A, clip(rho, 1 - eps, 1 + eps) A)
Unlike in uft, the prefix is trained by its advantage, not its likelihood. low reaches .05 at --T_hint; prefixes
continue after it. The entropy bonus, if any, covers the trained prefix tokens too; --rollout_correction leaves their
weights at 1. KL 0.

Source: ZeroYuHuang/prefix_rft (e0b6f43) for schedules (U is its Beta(1, 1)) and advantages; the 20 % are from the names
of its runs, and apply per micro-batch there, per row here. It cuts at any token and does not clip the prefix's ratio;
here cuts lie between the solution's texts, and the prefix is clipped like the rest.
"""

from typing import Any

import numpy as np

from recipes.algorithms.base import Algorithm, At, Bare, Group, Hint, Plan, Weights
from recipes.algorithms.hints.schedule import cosine
from recipes.algorithms.losses.group import compared

HIGH, LOW, ONE_OF = 0.95, 0.05, 5


def rollout(at: At, s: Any, rng: np.random.Generator) -> list[Plan]:
    """The last rollout starts from a prefix, the others from the bare prompt."""
    least = cosine(at.step - 1, s.T_hint, HIGH, LOW)
    return [*[Bare()] * (s.n_rollout - 1), Hint(share=least + (HIGH - least) * rng.random())]


def doubted(group: Group) -> Any:
    """(n, L) bool: the fifth of each row's given tokens with the highest entropy, rounded up; first ones win ties."""
    assert group.entropy is not None
    given = group.given & group.ok.unsqueeze(-1)
    ranked = group.entropy.where(given, -group.entropy.new_ones(())).argsort(dim=-1, descending=True, stable=True)
    return given & (ranked.argsort(dim=-1) < (given.sum(-1, keepdim=True) + ONE_OF - 1) // ONE_OF)


def weigh(group: Group, s: Any) -> Weights:
    trained = group.gen | doubted(group)
    return Weights(compared(group, std=False) * trained, mask=trained)


ALGORITHM = Algorithm(
    name="prefix_rft",
    title="Prefix-RFT: one rollout per group continues a prefix, whose uncertain tokens share its advantage",
    paper="arXiv 2507.01679",
    equation="GRPO(y | q) and GRPO(prefix, y | q, prefix) on the prefix's 20 % of highest entropy",
    stages=("rl",),
    needs=frozenset({"group"}),
    settings={"kl_coef": 0.0},
    rollout=rollout,
    loss_norm="length",
    weigh=weigh,
)
