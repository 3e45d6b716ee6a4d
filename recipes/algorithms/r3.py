"""R3, reverse curriculum reinforcement learning: Xi et al., arXiv 2402.05808, as the UFT paper runs it.

GRPO from a hint whose length is uniform over 0..n during all of training; the hint adds nothing to the loss.
"""

from typing import Any

import numpy as np

from recipes.algorithms.base import Algorithm, At, Hint


def rollout(at: At, s: Any, rng: np.random.Generator) -> Hint:
    """Every length from none to all of the solution is as likely, at every step."""
    return Hint(int(rng.integers(0, at.segments + 1)))


ALGORITHM = Algorithm(
    name="r3",
    title="R3: GRPO from a hint of uniform length, all along",
    paper="arXiv 2402.05808",
    equation="GRPO(y | q, hint_k),  k ~ Uniform{0..n}",
    stages=("rl",),
    needs=frozenset({"group"}),
    rollout=rollout,
)
