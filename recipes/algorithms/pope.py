"""POPE, privileged on-policy exploration: Qu et al., arXiv 2601.18779.

    A problem without a correct rollout is hard. Half of its draws are the bare question, half the question with the
    shortest prefix of its solution, up to a quarter, that yields a success. GRPO on the answer; no loss on the prefix.
Sources: the paper's abstract and two summaries by others (prefix in the question with an instruction to continue it,
mixed 1 : 1, at most 25 %, no likelihood). The paper finds hard problems and prefixes beforehand, from many samples of
the base model; here they are found during training, without extra rollouts. A problem is hard while its last bare group
had no success. Its prefix grows by a quarter of the limit after each hinted group without one, never shrinks, and is
dropped at the first bare success. If a short solution has no text within the prefix, the draw is bare. The wording of
the instruction is this repository's.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recipes.algorithms.base import Algorithm, At, Bare, Group, Hint, Json, Kept, Plan
from recipes.algorithms.losses.group import share_right
from recipes.common.values import a_share

STEPS = 4
WRAP = "{question}\n\nSomebody has begun to solve this:\n{hint}\n\nUnderstand what is there, then go on from it."


@dataclass(frozen=True)
class Options:
    longest_prefix: float = field(
        default=0.25, metadata={"help": "largest share of the solution to try", "check": a_share}
    )


def rollout(at: At, s: Any, rng: np.random.Generator) -> Plan:
    """`past` is a hard problem's prefix length in quarters of the limit, None for other problems."""
    if at.past is None or rng.random() < 0.5:
        return Bare()
    return Hint(share=s.longest_prefix * at.past / STEPS, where="prompt", wrap=WRAP)


def remember(group: Group, past: Json, common: Json, s: Any) -> Kept:
    """Bare groups show whether a problem is hard, hinted groups whether its prefix is long enough."""
    share = share_right(group)
    if share is None:
        return past, None, ()
    if isinstance(group.plans[0], Hint) and group.hinted:
        return (past if share else min(past + 1, STEPS)), None, ()
    return (None if share else past or 1), None, ()


ALGORITHM = Algorithm(
    name="pope",
    title="POPE: GRPO; hard questions get the shortest helpful prefix of their solution half of the time",
    paper="arXiv 2601.18779",
    equation="GRPO(y | q) and, where all fail, GRPO(y | q + shortest prefix that gives a success) half of the time",
    stages=("rl",),
    needs=frozenset({"group"}),
    options=Options,
    rollout=rollout,
    remember=remember,
    memory_metrics=lambda past, common, s: {"hard": len(past), "quarters": sum(past.values()) / max(1, len(past))},
    hints_in_prompt=True,
    wrap=WRAP,
)
