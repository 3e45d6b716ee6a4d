"""ReLIFT, reinforcement with interleaved supervision: Ma et al., arXiv 2506.07527 (TheRoadQaQ/ReLIFT).

    GRPO from the bare prompt, A = r - mean(r). A question whose rollouts all fail enters a buffer; when it holds 128,
    one supervised update on their solutions (-log pi(y*) per token) empties it.
Sources: the authors' script for 7B models (1a8de98: KL 0, entropy 0, no std, buffer 64); 128 and the rest are from this
repository's notes on its trainer. Differences: a question is in the buffer at most once, oldest first, and leaves it
when solved; the whole buffer is trained on at once and saved in every checkpoint; no entropy term. There supervised
updates have their own optimiser (AdamW, lr 1e-6, the same as RL's); here both share one, with its moments and learning
rate. The script clips at .2 and .28, here at --clip_ratio.
"""

from dataclasses import dataclass, field
from typing import Any

from recipes.algorithms.base import Algorithm, Group, Json, Kept
from recipes.algorithms.dr_grpo import weigh
from recipes.algorithms.losses.group import share_right
from recipes.common.values import at_least


@dataclass(frozen=True)
class Options:
    unsolved_buffer: int = field(
        default=128, metadata={"help": "unsolved questions that trigger a supervised update", "check": at_least(1)}
    )


def remember(group: Group, past: Json, common: Json, s: Any) -> Kept:
    """The buffer: keys of unsolved questions with a solution, oldest first."""
    share = share_right(group)
    waiting = [key for key in common or [] if key != group.key or share is None]
    if share == 0 and group.solution:
        waiting.append(group.key)
    return (None, [], waiting) if len(waiting) >= s.unsolved_buffer else (None, waiting, ())


ALGORITHM = Algorithm(
    name="relift",
    title="ReLIFT: GRPO, interleaved with supervised updates on solutions of unsolved questions",
    paper="arXiv 2506.07527",
    equation="GRPO(y | q); - log pi(y* | q) on 128 unsolved questions once there are so many",
    stages=("rl",),
    needs=frozenset({"group"}),
    options=Options,
    settings={"kl_coef": 0.0, "entropy_coef": 0.0},
    weigh=weigh,
    remember=remember,
    memory_metrics=lambda past, common, s: {"unsolved": len(common or [])},
)
