"""CHORD-phi, expert tokens weighted by the policy's uncertainty: Zhang et al., arXiv 2508.11408.

    L = (1 - mu) L_GRPO(rollouts) + mu mean_t[-phi(p_t) log p_t],  phi(p) = sg(p (1 - p)),  mu .1 throughout
phi is 0 where the policy is certain either way, and at most .25, at p = 1/2. Source: Trinity-RFT's mix_chord and
sft_phi losses (commit 0414330); their cutoff_prob, 1 by default, is omitted. Everything else as in chord_mu.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recipes.algorithms.base import Algorithm, Group, Weights
from recipes.algorithms.chord_mu import mixed
from recipes.algorithms.luffy import rollout
from recipes.common.values import a_share

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Options:
    phi_mu: float = field(default=0.1, metadata={"help": "weight of the demonstrations", "check": a_share})


def phi(p: torch.Tensor) -> torch.Tensor:
    """p (1 - p)."""
    return p * (1 - p)


def weigh(group: Group, s: Any) -> Weights:
    return mixed(group, s.phi_mu, "demonstration", phi)


ALGORITHM = Algorithm(
    name="chord_phi",
    title="CHORD-phi: GRPO, plus demonstrations with token weights p (1 - p)",
    paper="arXiv 2508.11408",
    equation="(1 - mu) GRPO(y | q) - mu phi(pi) log pi(y* | q),  phi(p) = p (1 - p),  mu = .1",
    stages=("rl",),
    needs=frozenset({"group"}),
    options=Options,
    settings={"kl_coef": 0.0},
    rollout=rollout,
    demonstrations=1,
    weigh=weigh,
)
