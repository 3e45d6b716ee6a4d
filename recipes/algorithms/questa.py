"""QuestA, question augmentation: Li et al., arXiv 2507.13266 (ICLR 2026).

    The first p % of the solution stand in the question; GRPO on the answer. p = 50 until T_hint / 2, 25 until T_hint.
Read: abstract and openings of paper and model card (p 50, then 25; hard problems only, 26 thousand of OpenR1). The
paper goes on to the second stage when the first no longer gains, which needs an eye: here half of T_hint each, and the
bare question afterwards, which is what validation asks. It augments the problems that its base rarely solves; here all.
The words around the hint are the framework's. Nothing is learned of the hint.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recipes.algorithms.base import Algorithm, At, Bare, Hint, Plan
from recipes.common.values import a_share


@dataclass(frozen=True)
class Options:
    first_share: float = field(default=0.5, metadata={"help": "of the solution, until T_hint / 2", "check": a_share})
    second_share: float = field(default=0.25, metadata={"help": "of the solution, until T_hint", "check": a_share})


def share(step: int, s: Any) -> float:
    """Of the solution, by stage."""
    return 0.0 if step > s.T_hint else float(s.first_share if 2 * step <= s.T_hint else s.second_share)


def rollout(at: At, s: Any, rng: np.random.Generator) -> Plan:
    """The stage's share in the question."""
    return Bare() if at.step > s.T_hint else Hint(share=share(at.step, s), where="prompt")


ALGORITHM = Algorithm(
    name="questa",
    title="QuestA: GRPO on questions that hold the first half, then quarter of their solution",
    paper="arXiv 2507.13266",
    equation="GRPO(y | q + hint),  share .5, .25, 0 by stage",
    stages=("rl",),
    needs=frozenset({"group"}),
    rollout=rollout,
    metrics=lambda step, s: {"share": share(step, s)},
    options=Options,
    hints_in_prompt=True,
)
