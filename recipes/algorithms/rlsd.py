"""RLSD, verified rewards with self-distillation: arXiv 2604.03128. Reward sets the sign, the solution the magnitude.

    D_t = log pi(y_t | q, y*, y_<t) - log pi(y_t | q, y_<t)
    A_t = A ((1 - l) + l clip(exp(sign(A) D_t), 1 - e, 1 + e)),   A of the group as in GRPO;   l .5, e .2
Tokens of correct answers weigh more if the solution makes them likelier, tokens of wrong answers if it makes them less
likely. In OPSD the solution decides the sign as well. Sources: the paper's abstract, ms-swift's options and defaults
(advantage_reweight rlsd) and a description of a verl fork's recipe, which agree; schedules of l are off in both, and
omitted. The teacher is the policy before the update (in the fork, a periodically synchronised reference).
"""

from dataclasses import dataclass, field
from typing import Any

from recipes.algorithms.base import Algorithm, Group, Weights
from recipes.algorithms.losses.group import compared
from recipes.algorithms.opsd import context, evidence
from recipes.common.values import a_share


@dataclass(frozen=True)
class Options:
    evidence_weight: float = field(
        default=0.5, metadata={"help": "l: 0 is GRPO, 1 weights tokens by the solution alone", "check": a_share}
    )
    evidence_clip: float = field(
        default=0.2, metadata={"help": "e: token weights are clipped to 1 - e .. 1 + e", "check": a_share}
    )


def weigh(group: Group, s: Any) -> Weights:
    """The group-relative advantage times each token's weight."""
    advantage = compared(group, std=True)
    size = (advantage.sign() * evidence(group)).exp().clamp(1 - s.evidence_clip, 1 + s.evidence_clip)
    return Weights(advantage * (1 - s.evidence_weight + s.evidence_weight * size) * group.gen)


ALGORITHM = Algorithm(
    name="rlsd",
    title="RLSD: GRPO with token weights from the policy that sees the solution",
    paper="arXiv 2604.03128",
    equation="GRPO(y | q) with A_t = A ((1 - l) + l clip(exp(sign(A) D_t), 1 - e, 1 + e)),  D as opsd",
    stages=("rl",),
    needs=frozenset({"group"}),
    options=Options,
    context=context,
    weigh=weigh,
)
