"""R3, reverse curriculum reinforcement learning: Xi et al., arXiv 2402.05808, as the UFT paper runs it.

GRPO from a hint whose length is uniform over 0..n during all of training; the hint adds nothing to the loss.
"""

from recipes.algorithms.base import Algorithm
from recipes.hints.schedule import uniform

ALGORITHM = Algorithm(
    name="r3",
    title="R3: GRPO from a hint of uniform length, all along",
    paper="arXiv 2402.05808",
    equation="GRPO(y | q, hint_k),  k ~ Uniform{0..n}",
    stages=("rl",),
    hint_length=uniform,
)
