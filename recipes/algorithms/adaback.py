"""AdaBack, adaptively revealed rationales: Amani et al., arXiv 2506.18110 (ICLR 2026). A binary search per problem.

    share ~ U(lo, hi), revealed to all rollouts of the problem; then, by their mean reward r,
    r >= tau:  hi = share, lo = 0        r < tau:  lo = share
A new problem starts from a moving average of all problems' bounds, initially 0 and 1. GRPO on the continuation; the
prefix is not trained on. A share counts texts of the solution. tau is .5.

Sources: the paper's abstract, and third-party code that quotes the rule of section 2.1, with lo reset to 0, tau .4 and
the moving average (stored but unused). As in that code, a failure does not reset hi to 1, so one lucky success keeps
its bound. That code also reveals nothing in a tenth of the draws, and keeps lo and hi one step apart; neither is done
here.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recipes.algorithms.base import Algorithm, At, Group, Hint, Json, Kept
from recipes.common.values import a_share

RATE = 0.05


@dataclass(frozen=True)
class Options:
    success_reward: float = field(
        default=0.5, metadata={"help": "mean reward from which less is revealed", "check": a_share}
    )


def rollout(at: At, s: Any, rng: np.random.Generator) -> Hint:
    """One share for all rollouts, from the problem's interval."""
    lo, hi = at.past or at.common or (0.0, 1.0)
    return Hint(share=lo + (hi - lo) * rng.random())


def remember(group: Group, past: Json, common: Json, s: Any) -> Kept:
    """[lo, hi] of this problem, and their moving average over problems."""
    plan, rewards = group.plans[0], group.verdicts[group.scored]
    if not group.segments or not len(rewards):
        return past, common, ()
    share = plan.share if isinstance(plan, Hint) and plan.share is not None else 0.0
    hi = (past or common or (0.0, 1.0))[1]
    own = [0.0, share] if float(rewards.mean()) >= s.success_reward else [share, hi]
    return own, [old + RATE * (new - old) for old, new in zip(common or (0.0, 1.0), own, strict=True)], ()


ALGORITHM = Algorithm(
    name="adaback",
    title="AdaBack: GRPO from a hint whose length is found by binary search per problem",
    paper="arXiv 2506.18110",
    equation="GRPO(y | q, hint),  share ~ U(lo, hi);  success: hi = share, lo = 0, failure: lo = share",
    stages=("rl",),
    needs=frozenset({"group"}),
    options=Options,
    rollout=rollout,
    remember=remember,
    memory_metrics=lambda past, common, s: {"share": float(np.mean([*past.values()]))} if past else {},
)
