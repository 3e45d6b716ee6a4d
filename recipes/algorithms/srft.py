"""SRFT, supervised reinforcement fine-tuning in one stage, weighted by entropy: Fu et al., arXiv 2506.19767.

    L = .5 sg(exp(-H)) mean[-log pi(y*)]  -  mean[A* f(pi(y*))]  +  mean[-w log pi(y)]
    w = .1 sg(exp(H)) on correct rollouts, -1 on wrong ones;  H = mean entropy of the row;  f(p) = p / (p + .1)
A is r - mean over rollouts and demonstration, as in LUFFY. PPO's advantage is 0: the rollouts are in the third term,
whose +log pi on wrong rows has no lower bound; watch actor/own and grad_norm.

Sources: a third party's transcription of the equations, and the only public code, a re-implementation in
TsinghuaC3I/Unify-Post-Training (srft_type "paper"), which scored 44.2 vs. the paper's 53.2. f, the row means and the
missing clip are from that code; the paper clips the ratio. Here each term is a mean over its own tokens; there the last
two share a count.
"""

from typing import Any

from recipes.algorithms.base import Algorithm, Group, Term, Weights
from recipes.algorithms.losses.group import compared, right, token_mean
from recipes.algorithms.luffy import rollout, shape


def weigh(group: Group, s: Any) -> Weights:
    """The three terms; PPO's own loss is 0."""
    assert group.entropy is not None
    shown = group.demo & group.ok.unsqueeze(-1)
    own = group.gen & group.scored.unsqueeze(-1)
    entropy = token_mean(group.entropy, shown | own)
    weight = (0.1 * entropy.exp()).where(right(group).unsqueeze(-1), -entropy.new_ones(()))
    advantage = compared(group, group.scored | shown.any(-1), std=False)
    return Weights(
        advantage=group.gen * 0.0,
        terms=(
            Term(0.5 * (-entropy).exp() * shown, "demonstration_nll"),
            Term(advantage * shown, "demonstration", shape=shape, over=shown, rewarded=True),
            Term(weight * own, "own", rewarded=True),
        ),
    )


ALGORITHM = Algorithm(
    name="srft",
    title="SRFT: likelihood of demonstrations and correct rollouts, weighted by entropy, in one stage",
    paper="arXiv 2506.19767",
    equation="-.5 e^-H log pi(y*) - A f(pi(y*)) - w log pi(y),  w = .1 e^H if correct else -1",
    stages=("rl",),
    needs=frozenset({"group"}),
    settings={"kl_coef": 0.0},
    rollout=rollout,
    demonstrations=1,
    policy_gradient=False,
    weigh=weigh,
)
