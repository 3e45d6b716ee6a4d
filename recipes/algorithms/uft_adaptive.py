"""Adaptive UFT: hint length follows the policy's success, not a schedule. Defined in this repository.

    success(k) = (4 pooled(k/n) + right_k) / (4 + tries_k)   k of n segments: pooled prior plus the problem's tries
    k ~ exp(-|success(k) - 1/2| / .1), one draw in fifty uniform;   k = 0 in 95 % of draws where success(0) > 1/2
    L = L_GRPO(generated tokens) - c mean sg(1 - p_t) log p_t over hint tokens
Rewards are most informative if half of the rollouts are correct; a hint token weighs more the less likely the policy
finds it. There is no T_hint, and longer hints are not assumed to help: solutions may have errors. A problem forgets
half of its tries at each visit; its rollouts share one length, and so a baseline. The rule comes from a pilot in plain
torch (one seed) that only pooled; the effect of a problem's own tries has not been measured.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from recipes.algorithms.base import Algorithm, At, Group, Hint, Json, Kept, Weights, hint_term
from recipes.algorithms.losses.group import right, share_right

GRID = 5  # shares 0, 1/5 .. 1
WIDTH, UNIFORM, BARE = 0.1, 0.02, 0.95
WEIGHT, RATE, KEPT = 4.0, 0.05, 0.5
UNKNOWN, UNTRIED = [0.5] * (GRID + 1), [[0.0, 0.0]] * (GRID + 1)


def place(k: int, n: int) -> int:
    """Index on the grid of shares of k of n segments."""
    return round(GRID * min(k, n) / n) if n else 0


def success(at: At) -> list[float]:
    """Estimated success rate for k = 0 .. n; one half if unknown."""
    pooled, own = at.common or UNKNOWN, at.past or UNTRIED
    places = [place(k, at.segments) for k in range(at.segments + 1)]
    return [(WEIGHT * pooled[p] + own[p][0]) / (WEIGHT + own[p][1]) for p in places]


def rollout(at: At, s: Any, rng: np.random.Generator) -> Hint:
    """One length for all rollouts of the prompt."""
    chances = success(at)
    if chances[0] > 0.5 and rng.random() < BARE:
        return Hint(0)
    weights = np.array([math.exp(-abs(chance - 0.5) / WIDTH) for chance in chances])
    return Hint(int(rng.choice(len(chances), p=(1 - UNIFORM) * weights / weights.sum() + UNIFORM / len(chances))))


def remember(group: Group, past: Json, common: Json, s: Any) -> Kept:
    """By share given: this problem's [correct, tries], and the running mean of success over all groups."""
    share, plan = share_right(group), group.plans[0]
    if share is None:
        return past, common, ()
    at = place(plan.segments if isinstance(plan, Hint) else 0, group.segments)
    pooled, own = list(common or UNKNOWN), [[KEPT * value for value in pair] for pair in past or UNTRIED]
    pooled[at] += RATE * (share - pooled[at])
    own[at] = [own[at][0] + int(right(group).sum()), own[at][1] + int(group.scored.sum())]
    return own, pooled, ()


def doubt(p: Any) -> Any:
    """1 - p."""
    return 1 - p


ALGORITHM = Algorithm(
    name="uft_adaptive",
    title="Adaptive UFT: GRPO from hints whose length keeps success at one half, plus their unlikely tokens",
    paper="this repository",
    equation="GRPO(y | q, hint_k) - c (1 - pi) log pi(hint_k | q),  k ~ exp(-|success(k) - 1/2| / .1)",
    stages=("rl",),
    needs=frozenset({"group"}),
    settings={"sft_loss_coef": 0.001},
    rollout=rollout,
    weigh=lambda group, s: Weights(terms=(replace(hint_term(group, s), name="hint_doubt", shape=doubt),)),
    remember=remember,
    memory_metrics=lambda past, common, s: {f"success/{p / GRID:g}": x for p, x in enumerate(common or UNKNOWN)},
)
