"""OPSD, on-policy self-distillation: Zhao et al., arXiv 2601.18734, as a policy gradient.

    D_t = log pi(y_t | q, y*, y_<t) - log pi(y_t | q, y_<t) on own rollouts y,   A_t = D_t
The policy that sees the solution teaches the policy that does not: in expectation, the gradient is that of
KL(pi(. | q) || sg pi(. | q, y*)). D is 0 for questions without a solution. Rewards are not used, so --n_rollout 1
works; reference KL and entropy bonus are 0.

Second-hand: the rule follows the documentation of ms-swift and prime-rl; the wording around the solution is this
repository's. The paper computes the divergence over the whole vocabulary, here it is estimated on the sampled token;
and the teacher is the policy before the update, not a frozen one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from recipes.algorithms.base import Algorithm, Group, Weights

SOLUTION = "For the question at the end, this is a correct solution:\n{text}\n\nNow solve it in your own words.\n\n"


def beside(messages: Sequence[Mapping[str, str]], text: str) -> Sequence[Mapping[str, str]] | None:
    """The messages, with a text before the content of the last one; None if either is empty. The end of the prompt,
    where the answer begins, stays the same in every prompt style."""
    if not text or not messages:
        return None
    *first, last = messages
    return [*first, {**last, "content": SOLUTION.replace("{text}", text) + last["content"]}]


def context(row: int, group: Group, s: Any) -> Sequence[Mapping[str, str]] | None:
    """The question, preceded by its solution."""
    return beside(group.messages, group.solution)


def evidence(group: Group) -> Any:
    """D, (n, L); 0 except on generated tokens of rows with a reward."""
    assert group.rescored is not None
    where = group.gen & group.ok.unsqueeze(-1)
    return (group.rescored - group.old).where(where, group.old.new_zeros(()))


def weigh(group: Group, s: Any) -> Weights:
    return Weights(evidence(group))


ALGORITHM = Algorithm(
    name="opsd",
    title="OPSD: distils the policy that sees the solution into the one that does not, on its own rollouts",
    paper="arXiv 2601.18734",
    equation="PPO(y | q) with A_t = log pi(y_t | q, y*) - log pi(y_t | q)",
    stages=("rl",),
    settings={"kl_coef": 0.0, "entropy_coef": 0.0},
    context=context,
    weigh=weigh,
)
