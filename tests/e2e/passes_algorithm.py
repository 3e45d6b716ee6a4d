"""The algorithm of test_passes.py: hints in some questions and some responses, every rollout scored again, solutions
learned by a second update, and nothing else: advantages are 0."""

import torch

from recipes.algorithms.base import Algorithm, Bare, Hint, Weights


def rollout(at, s, rng):
    return [Bare(), Bare(), Hint(share=0.5, where="prompt"), Hint(share=1.0)]


def context(row, group, s):
    # The prompt itself; for the hinted rows, the prompt without its hint; none for the last one.
    return None if row == 3 else group.messages


def weigh(group, s):
    difference = (group.rescored - group.old) * group.gen
    return Weights(
        advantage=torch.zeros_like(group.old),
        metrics={
            "same": float(difference[:2].abs().max()),
            "without_hint": float(difference[2].sum()),
            "left": float(difference[3].abs().max()),
            "solutions": float(bool(group.solution) and len(group.texts) == 4),
        },
    )


def remember(group, past, common, s):
    seen = (common or 0) + 1
    # Three prompts of every step of eight.
    return group.step, seen, [group.key] if seen % 8 in (1, 2, 3) else []


ALGORITHM = Algorithm(
    name="passes",
    title="A test's algorithm",
    paper="none",
    equation="-log pi(solution)",
    stages=("rl",),
    settings={"kl_coef": 0.0, "entropy_coef": 0.0},
    rollout=rollout,
    hints_in_prompt=True,
    context=context,
    weigh=weigh,
    remember=remember,
)
