"""DFT, dynamic fine-tuning: SFT with each token weighted by its probability. Wu et al., arXiv 2508.05629.

    L = - sum_t sg(p_t) log p_t / (solution tokens of the global batch),   p_t = pi(y*_t | q, y*_<t)
Cross-entropy is a policy gradient with reward 1/p, which is unbounded on tokens the policy considers impossible. The
factor p cancels it, so training focuses on what the policy nearly knows. All else as in sft, learning rate included.
Source: TRL's dft_loss (1.12); a test checks that the two are equal. DFT's authors find it weaker on questions with a
single solution that can be written in few ways (second-hand).
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
