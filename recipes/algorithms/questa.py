"""QuestA, question augmentation: Li et al., arXiv 2507.13266 (ICLR 2026).

    The question contains the first p % of the solution; GRPO on the answer. p = 50 until T_hint / 2, 25 until T_hint.
Sources: abstract and beginning of the paper and model card (p 50, then 25; hard problems only, 26 thousand of OpenR1).
The paper switches stages by hand, when the first stops improving; here each lasts half of T_hint, followed by the bare
question, as in validation. It augments only problems its base model rarely solves; here all are augmented. The text
around the hint is the framework's. The hint is not trained on.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recipes.algorithms.base import Algorithm, At, Bare, Hint, Plan
from recipes.common.values import a_share


@dataclass(frozen=True)
class Options:
    first_share: float = field(
        default=0.5, metadata={"help": "share of the solution given until T_hint / 2", "check": a_share}
    )
    second_share: float = field(
        default=0.25, metadata={"help": "share of the solution given until T_hint", "check": a_share}
    )


def share(step: int, s: Any) -> float:
    """Share of the solution given at this step."""
    return 0.0 if step > s.T_hint else float(s.first_share if 2 * step <= s.T_hint else s.second_share)


def rollout(at: At, s: Any, rng: np.random.Generator) -> Plan:
    """The stage's share, in the question."""
    return Bare() if at.step > s.T_hint else Hint(share=share(at.step, s), where="prompt")


ALGORITHM = Algorithm(
    name="questa",
    title="QuestA: GRPO on questions that contain the first half, then quarter of their solution",
    paper="arXiv 2507.13266",
    equation="GRPO(y | q + hint),  share .5, .25, 0 by stage",
    stages=("rl",),
    needs=frozenset({"group"}),
    rollout=rollout,
    metrics=lambda step, s: {"share": share(step, s)},
    options=Options,
    hints_in_prompt=True,
)
