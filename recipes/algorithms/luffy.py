"""LUFFY, learning to reason under off-policy guidance: Yan et al., arXiv 2504.14945 (ElliottYan/LUFFY).

A demonstration joins the rollouts of its prompt, with a shaped importance weight and no clipping:
    A_i = r_i - mean(r) over rollouts and demonstration (score 1), not divided by the std
    L   = -(1 / (N n_max)) [sum_gen min(rho A, clip(rho, ...) A) + sum_demo f(p) A],   f(p) = p / (p + gamma), gamma .1
with N sequences and a constant n_max tokens. f is steepest at small p, which emphasises rare tokens of the solution.
Since d(-A f(p)) = A f'(p) p d(-log p), the demonstration is a term of shape f'(p) p = gamma p / (p + gamma)^2.
KL 0, entropy .01, also divided by N n_max (the authors' train.sh has .001: --entropy_coef .001). The paper's 7 + 1
rollouts are --n_rollout 7. It does not clip the ratio; PPO's clipping has no effect with one update per step
(--mini_batch_size equal to --batch_size).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from recipes.algorithms.base import Algorithm, At, Bare, Demonstration, Group, Plan, Term, Weights

if TYPE_CHECKING:
    import torch

GAMMA = 0.1


def rollout(at: At, s: Any, rng: np.random.Generator) -> list[Plan]:
    """n rollouts from the bare prompt, and a demonstration."""
    return [*[Bare()] * s.n_rollout, Demonstration()]


def shape(p: torch.Tensor) -> torch.Tensor:
    """f'(p) p of f(p) = p / (p + gamma)."""
    return GAMMA * p / (p + GAMMA) ** 2


def weigh(group: Group, s: Any) -> Weights:
    """The baseline includes the demonstration; its tokens are weighted by its advantage."""
    voting = group.scored | group.demo.any(-1)
    mean = group.scores[voting].mean() if voting.any() else 0.0
    advantage = ((group.scores - mean) * voting).unsqueeze(-1)
    return Weights(
        advantage * group.gen,
        terms=(Term(advantage * group.demo, "demonstration", shape=shape, norm="length", rewarded=True),),
    )


ALGORITHM = Algorithm(
    name="luffy",
    title="LUFFY: a demonstration among the rollouts, with emphasis on its rare tokens",
    paper="arXiv 2504.14945",
    equation="A = r - mean over rollouts and demonstration;  GRPO(y | q) - A f(pi(y* | q)),  f(p) = p / (p + .1)",
    stages=("rl",),
    needs=frozenset({"group"}),
    settings={"kl_coef": 0.0, "entropy_coef": 0.01},
    rollout=rollout,
    demonstrations=1,
    loss_norm="length",
    weigh=weigh,
)
