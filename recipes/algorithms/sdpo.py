"""SDPO, self-distillation policy optimization: Huebotter et al., arXiv 2601.20802, with verified rewards alone.

    D_t = log pi(y_t | q, y+, y_<t) - log pi(y_t | q, y_<t),  y+ the first correct sibling of y, never y;  A_t = D_t
A rollout without a correct sibling has no teacher: D is 0. Solutions are not needed. Reference KL and entropy bonus are
0. Source: TRL's implementation (1.12, experimental) and its defaults: sampled token, reverse KL, first correct sibling,
no rollout teaches itself. Its teacher is a moving average of the weights, here the policy before the update; the
wording around y+ is this repository's.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from recipes.algorithms.base import Algorithm, Group, Weights
from recipes.algorithms.losses.group import right
from recipes.algorithms.opsd import beside, evidence


def context(row: int, group: Group, s: Any) -> Sequence[Mapping[str, str]] | None:
    """The question, preceded by the first correct sibling's answer."""
    siblings = [other for other, is_right in enumerate(right(group).tolist()) if is_right and other != row]
    return beside(group.messages, group.texts[siblings[0]]) if siblings else None


def weigh(group: Group, s: Any) -> Weights:
    taught = [context(row, group, s) is not None for row in group.ok.nonzero().flatten().tolist()]
    return Weights(evidence(group), metrics={"taught": sum(taught) / len(taught)} if taught else {})


ALGORITHM = Algorithm(
    name="sdpo",
    title="SDPO: distils the policy that sees a correct sibling into the one that does not",
    paper="arXiv 2601.20802",
    equation="PPO(y | q) with A_t = log pi(y_t | q, correct sibling) - log pi(y_t | q)",
    stages=("rl",),
    needs=frozenset({"group"}),
    settings={"kl_coef": 0.0, "entropy_coef": 0.0},
    context=context,
    weigh=weigh,
)
