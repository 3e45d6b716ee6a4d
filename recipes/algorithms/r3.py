"""R3, reverse curriculum reinforcement learning: Xi et al., arXiv 2402.05808, as run in the UFT paper.

GRPO from a hint whose length is uniform over 0..n throughout training; no loss on the hint.
"""

from typing import Any

import numpy as np

from recipes.algorithms.base import Algorithm, At, Hint


def rollout(at: At, s: Any, rng: np.random.Generator) -> Hint:
    """Every length, from none to the complete solution, is equally likely at every step."""
    return Hint(int(rng.integers(0, at.segments + 1)))


ALGORITHM = Algorithm(
    name="r3",
    title="R3: GRPO from a hint of uniformly random length",
    paper="arXiv 2402.05808",
    equation="GRPO(y | q, hint_k),  k ~ Uniform{0..n}",
    stages=("rl",),
    needs=frozenset({"group"}),
    rollout=rollout,
)
