"""CHORD-mu, GRPO and supervised experts mixed by one global weight: Zhang et al., arXiv 2508.11408.

    L     = (1 - mu(t)) L_GRPO(rollouts) + mu(t) L_SFT(demonstrations)
    mu(t) = valley + (peak - valley)(1 + cos(pi t / D)) / 2 for t < D, then valley;  peak .9, valley .05, no warm-up
Source: Trinity-RFT's mix_chord loss (commit 0414330). As there, demonstrations do not enter the baseline, t counts from
0, KL is 0, and L_SFT is the mean over demonstrations of their token means (here independent of micro-batches). D is
--T_hint (there 200). The expert data are the solutions of the same prompts, one each; there, a separate data set that
makes up a fifth of the batch.
"""

from dataclasses import dataclass, field
from typing import Any

from recipes.algorithms.base import Algorithm, Group, Shape, Term, Weights
from recipes.algorithms.hints.schedule import cosine
from recipes.algorithms.losses.group import compared
from recipes.algorithms.luffy import rollout
from recipes.common.values import a_share


@dataclass(frozen=True)
class Options:
    mu_peak: float = field(default=0.9, metadata={"help": "initial weight of demonstrations", "check": a_share})
    mu_valley: float = field(
        default=0.05, metadata={"help": "weight of demonstrations from T_hint on", "check": a_share}
    )


def mu(t: int, s: Any) -> float:
    """The weight of demonstrations after t steps."""
    return cosine(t, s.T_hint, s.mu_peak, s.mu_valley)


def mixed(group: Group, weight: float, name: str, shape: Shape | None = None) -> Weights:
    """(1 - weight) times GRPO, plus weight times the term `name`: a mean of token means per demonstration."""
    rows = group.demo / group.demo.sum(-1, keepdim=True).clamp(min=1)
    term = Term(rows, name, coef=weight, shape=shape, norm="rows")
    return Weights((1 - weight) * compared(group, std=True) * group.gen, terms=(term,))


def weigh(group: Group, s: Any) -> Weights:
    return mixed(group, mu(group.step - 1, s), "demonstration_nll")


ALGORITHM = Algorithm(
    name="chord_mu",
    title="CHORD-mu: likelihood of demonstrations annealed into GRPO",
    paper="arXiv 2508.11408",
    equation="(1 - mu(t)) GRPO(y | q) - mu(t) log pi(y* | q),  mu cosine .9 -> .05",
    stages=("rl",),
    needs=frozenset({"group"}),
    options=Options,
    settings={"kl_coef": 0.0},
    rollout=rollout,
    demonstrations=1,
    weigh=weigh,
    metrics=lambda step, s: {"mu": mu(step - 1, s)},
)
