"""MaxRL, maximum likelihood by reinforcement: Tajwar et al., arXiv 2602.02710.

    A_i = (r_i - mean(r)) / mean(r),  r_i in {0, 1};  0 if no rollout is correct
REINFORCE maximises the probability p of a correct answer; MaxRL maximises an estimate of log p from n samples. The mean
of A_i grad log pi(y_i) is grad log pi averaged over correct rollouts minus its average over all, so hard questions
weigh more. Only correctness counts: dividing by a mean with partial credit would favour merely readable answers.
Sources: the paper's abstract and the beginning of the authors' page (grad log p = sum_k grad pass@k / k); the estimator
is prime-rl's `max_rl`, second-hand. Clipping and KL as in rft.
"""

from typing import Any

from recipes.algorithms.base import Algorithm, Group, Weights
from recipes.algorithms.losses.group import right, share_right


def weigh(group: Group, s: Any) -> Weights:
    """(correct - share) / share on generated tokens."""
    share = share_right(group)
    advantage = (right(group).float() - share) / share * group.scored if share else group.scored * 0.0
    return Weights(advantage.unsqueeze(-1) * group.gen)


ALGORITHM = Algorithm(
    name="max_rl",
    title="MaxRL: rewards divided by their mean, the gradient of log p(correct)",
    paper="arXiv 2602.02710",
    equation="GRPO(y | q) with A = (r - mean(r)) / mean(r)",
    stages=("rl",),
    needs=frozenset({"group"}),
    weigh=weigh,
)
