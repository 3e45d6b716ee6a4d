"""OPSD, on-policy self-distillation: Zhao et al., arXiv 2601.18734, as a policy gradient.

    D_t = log pi(y_t | q, y*, y_<t) - log pi(y_t | q, y_<t) on own rollouts y,   A_t = D_t
The policy that is shown the solution teaches the one that is not: the expected gradient is that of the divergence
KL(pi(. | q) || sg pi(. | q, y*)). Rewards play no part, so that --n_rollout 1 works; KL to a reference and entropy
bonus are 0. Second-hand: the rule is ms-swift's and prime-rl's by their documentation, the words around the solution
are ours. The paper takes the divergence over the whole vocabulary; here it is that of the sampled token, and the
teacher is the policy before the update, not a frozen one. Where a question has no solution D is 0.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from recipes.algorithms.base import Algorithm, Group, Weights

SOLUTION = "For the question at the end, this is a correct solution:\n{text}\n\nNow solve it in your own words.\n\n"


def beside(messages: Sequence[Mapping[str, str]], text: str) -> Sequence[Mapping[str, str]] | None:
    """The messages with a text before the last one's; None without either. The prompt's end, where an answer begins,
    stays as it is in every prompt style."""
    if not text or not messages:
        return None
    *first, last = messages
    return [*first, {**last, "content": SOLUTION.replace("{text}", text) + last["content"]}]


def context(row: int, group: Group, s: Any) -> Sequence[Mapping[str, str]] | None:
    """The question behind its solution."""
    return beside(group.messages, group.solution)


def evidence(group: Group) -> Any:
    """D, (n, L): 0 off the generated tokens of rows with a verdict."""
    assert group.rescored is not None
    where = group.gen & group.ok.unsqueeze(-1)
    return (group.rescored - group.old).where(where, group.old.new_zeros(()))


def weigh(group: Group, s: Any) -> Weights:
    return Weights(evidence(group))


ALGORITHM = Algorithm(
    name="opsd",
    title="OPSD: the policy that sees the solution teaches the one that does not, on its own rollouts",
    paper="arXiv 2601.18734",
    equation="PPO(y | q) with A_t = log pi(y_t | q, y*) - log pi(y_t | q)",
    stages=("rl",),
    settings={"kl_coef": 0.0, "entropy_coef": 0.0},
    context=context,
    weigh=weigh,
)
