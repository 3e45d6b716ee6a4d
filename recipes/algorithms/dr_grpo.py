"""Dr. GRPO, GRPO done right: Liu et al., arXiv 2503.20783 (sail-sg/understand-r1-zero).

    A_i = r_i - mean(r);  L = -(1 / (N n_max)) sum_i sum_t min(rho A, clip(rho, 1 - eps, 1 + eps) A)
Omits the two divisions that bias GRPO: by the standard deviation (favours questions that are almost always or almost
never solved) and by the response length (favours long wrong responses). n_max is the maximum response length, passed to
verl as its scale factor, whose default is the width of a micro-batch. KL 0. Sources: README and figures of the authors'
repository (dfca49d), and verl's seq-mean-token-sum-norm.
"""

from typing import Any

from recipes.algorithms.base import Algorithm, Group, Weights
from recipes.algorithms.losses.group import compared


def weigh(group: Group, s: Any) -> Weights:
    """Rewards minus their mean."""
    return Weights(compared(group, std=False) * group.gen)


ALGORITHM = Algorithm(
    name="dr_grpo",
    title="Dr. GRPO: GRPO without dividing by standard deviation and length",
    paper="arXiv 2503.20783",
    equation="GRPO(y | q) with A = r - mean(r), divided by a constant length",
    stages=("rl",),
    needs=frozenset({"group"}),
    settings={"kl_coef": 0.0},
    loss_norm="length",
    weigh=weigh,
)
