"""DFT, dynamic fine-tuning: supervised fine-tuning that takes each token by its own probability. Wu et al., 2508.05629.

    L = - sum_t sg(p_t) log p_t / (solution tokens of the global batch),   p_t = pi(y*_t | q, y*_<t)
Cross-entropy is a policy gradient whose reward is 1/p: a token that the policy holds impossible pulls without bound.
The factor p takes that out; what it learns is what it nearly knows. Everything else as sft, learning rate included.
Read: TRL's dft_loss (1.12), which this equals by a test. Its authors see it weaker where a question has
one solution and few ways to write it (relayed).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recipes.algorithms.base import Algorithm

if TYPE_CHECKING:
    import torch


def probability(p: torch.Tensor) -> torch.Tensor:
    """g(p) = p."""
    return p


ALGORITHM = Algorithm(
    name="dft",
    title="DFT: cross-entropy on the solution, each token times its own probability",
    paper="arXiv 2508.05629",
    equation="- sg(pi) log pi(solution | q)",
    stages=("sft",),
    supervised=probability,
    alignment_lr=1e-5,
)
