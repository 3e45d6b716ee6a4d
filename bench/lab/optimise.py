"""One step of the optimiser, for both kinds of stages, with verl's defaults."""

from __future__ import annotations

import torch

from bench.lab.model import Parameters

DECAY = 0.01
"""AdamW's weight decay."""

_LONGEST = 1.0
"""The longest gradient."""


def descend(optimiser: torch.optim.Optimizer, weights: Parameters, loss: torch.Tensor) -> None:
    loss.backward()
    torch.nn.utils.clip_grad_norm_(weights.values(), _LONGEST)
    optimiser.step()
    optimiser.zero_grad()
