"""Turns the terms that `weigh` returns per prompt into weights that workers sum, each divided by its count."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from recipes.algorithms.base import Group, Shape, Term, Weights


@dataclass(frozen=True)
class Stream:
    """A term over the whole batch, divided by its count."""

    name: str
    coef: float
    shape: Shape | None
    rows: list[torch.Tensor]
    """Per group, (n, L) float32: weights / N; 0 on rows without a reward."""

    rewarded: bool = False
    """As in Term."""

    @property
    def empty(self) -> bool:
        """Whether all weights are zero."""
        return not any(bool(rows.any()) for rows in self.rows)


def streams(
    groups: Sequence[Group], weighed: Sequence[Weights], *, updates: float, votes: float, length: int
) -> list[Stream]:
    """The terms of a batch, each divided by its count per optimiser step.

    All updates of a batch share one divisor, so a token's weight does not depend on its update, micro-batch or rank.

    Args:
        updates: optimiser steps on the batch.
        votes: rows with a reward, per optimiser step.
        length: maximum response length in tokens.

    Raises:
        ValueError: prompts with different terms.
    """
    kinds = [[(term.name, term.coef, term.norm, term.shape) for term in each.terms] for each in weighed]
    if odd := [found for found in kinds if found != kinds[0]]:
        raise ValueError(
            f"weigh gives different terms for different prompts (name, coef, norm, shape): {kinds[0]}, {odd[0]}; give "
            "every prompt the same terms, with zero weights if one does not apply"
        )
    found = []
    for place, first in enumerate(weighed[0].terms if weighed else ()):
        terms = [each.terms[place] for each in weighed]
        rows = [term.weights.float() * group.ok.unsqueeze(-1) for term, group in zip(terms, groups, strict=True)]
        counted = [term.weights if term.over is None else term.over for term in terms]
        counted = [each * group.ok.unsqueeze(-1) for each, group in zip(counted, groups, strict=True)]
        count = _count(first, counted, updates=updates, votes=votes, length=length)
        found.append(Stream(first.name, first.coef, first.shape, [row / count for row in rows], first.rewarded))
    return found


def _count(term: Term, rows: list[torch.Tensor], *, updates: float, votes: float, length: int) -> float:
    """N of a term in an optimiser step; at least 1, even if all weights are zero."""
    if term.norm == "tokens":
        return max(sum(int(row.count_nonzero()) for row in rows) / updates, 1.0)
    if term.norm == "rows":
        return max(sum(int(row.any(-1).sum()) for row in rows) / updates, 1.0)
    if term.norm == "sequences":
        return votes
    if term.norm == "length":
        return votes * length
    raise ValueError(f"norm {term.norm!r} of the term {term.name}: use tokens, rows, sequences or length")


def term_sum(log_probs: torch.Tensor, weights: torch.Tensor, shape: Shape | None) -> torch.Tensor:
    """sum_t w_t g(sg p_t) (-log p_t), in nats. Positions with weight 0 may hold anything, NaN included.

    Args:
        log_probs, weights: (batch, response).
        shape: g; None means 1.
    """
    kept = torch.where(weights != 0, log_probs, torch.zeros_like(log_probs))
    # A shape may be infinite at 1, the probability of padding.
    factor = weights if shape is None else torch.where(weights != 0, weights * shape(kept.detach().exp()), 0.0)
    return -(factor * kept).sum()
