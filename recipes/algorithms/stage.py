"""Stage: hints shortened by one segment at a time, the staged baseline of the UFT paper (figure 4).

    k(t) = clip(n - floor(t / floor(T_hint / (n + 1))), 0, n),  no hint from T_hint on
Includes the hint log-likelihood (c .001, as in uft), as in the UFT repository, so that curves are comparable;
`--sft_loss_coef 0` gives the staged curriculum alone.
"""

from typing import Any

import numpy as np

from recipes.algorithms.base import Algorithm, At, Hint


def rollout(at: At, s: Any, rng: np.random.Generator) -> Hint:
    """n segments, then n - 1, ..., each for T_hint / (n + 1) steps; none from T_hint on."""
    if at.step > s.T_hint:
        return Hint(0)
    stage_length = max(1, s.T_hint // (at.segments + 1))
    return Hint(max(0, at.segments - at.step // stage_length))


ALGORITHM = Algorithm(
    name="stage",
    title="Stage: GRPO from a hint shortened in stages",
    paper="arXiv 2505.16984, section 5",
    equation="GRPO(y | q, hint_k) - c log pi(hint_k | q),  k = n, n-1, ..., 0 in equal stages",
    stages=("rl",),
    needs=frozenset({"group"}),
    settings={"sft_loss_coef": 0.001},
    rollout=rollout,
)
