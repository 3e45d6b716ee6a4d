"""MaxRL, maximum likelihood by reinforcement: Tajwar et al., arXiv 2602.02710.

    A_i = (r_i - mean(r)) / mean(r),  r_i in {0, 1};  0 where no rollout is right
REINFORCE maximises the probability p of a right answer, this its logarithm, as far as n samples can tell: the average
of A_i grad log pi(y_i) is grad log pi averaged over the right rollouts less that over all. Hard questions weigh more.
Read: the paper's abstract and the opening of the authors' page (grad log p = sum_k grad pass@k / k); the estimator is
prime-rl's `max_rl`, second-hand. Only right or wrong counts: dividing by a mean of partial credit would make the most
of whoever is merely readable. Clipping and KL stay as in rft.
"""

from typing import Any

from recipes.algorithms.base import Algorithm, Group, Weights
from recipes.algorithms.losses.group import right, share_right


def weigh(group: Group, s: Any) -> Weights:
    """(right - share) / share on generated tokens."""
    share = share_right(group)
    advantage = (right(group).float() - share) / share * group.scored if share else group.scored * 0.0
    return Weights(advantage.unsqueeze(-1) * group.gen)


ALGORITHM = Algorithm(
    name="max_rl",
    title="MaxRL: rewards divided by their mean, the gradient of log p(right)",
    paper="arXiv 2602.02710",
    equation="GRPO(y | q) with A = (r - mean(r)) / mean(r)",
    stages=("rl",),
    needs=frozenset({"group"}),
    weigh=weigh,
)
