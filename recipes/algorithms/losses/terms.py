"""From what `weigh` says of each prompt to numbers a worker can sum: every stream divided by its own count."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from recipes.algorithms.base import Group, Shape, Term, Weights


@dataclass(frozen=True)
class Stream:
    """One term of the whole batch, divided by its count."""

    name: str
    coef: float
    shape: Shape | None
    rows: list[torch.Tensor]
    """Of each group, (n, L) float32: weights / N, zero on rows without a verdict."""

    rewarded: bool = False
    """As of the Term."""

    @property
    def empty(self) -> bool:
        """Whether nothing has a weight."""
        return not any(bool(rows.any()) for rows in self.rows)


def streams(
    groups: Sequence[Group], weighed: Sequence[Weights], *, updates: float, votes: float, length: int
) -> list[Stream]:
    """The terms of a batch, each divided by its own count in one of its `updates` optimiser steps.

    All updates of a batch divide by the same number, so that every token of the batch weighs the same, in whatever
    update, micro-batch and rank it is.

    Args:
        updates: optimiser steps on the batch.
        votes: rows of an optimiser step that have a verdict.
        length: tokens of the longest response.

    Raises:
        ValueError: when two prompts disagree on the terms.
    """
    kinds = [[(term.name, term.coef, term.norm, term.shape) for term in each.terms] for each in weighed]
    if odd := [found for found in kinds if found != kinds[0]]:
        raise ValueError(
            f"weigh gives other terms for other prompts (name, coef, norm, shape): {kinds[0]}, {odd[0]}; give every "
            "prompt the same terms, with weights of 0 where one has no part"
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
    """N of a term in an optimiser step; at least 1, also where nothing has a weight."""
    if term.norm == "tokens":
        return max(sum(int(row.count_nonzero()) for row in rows) / updates, 1.0)
    if term.norm == "rows":
        return max(sum(int(row.any(-1).sum()) for row in rows) / updates, 1.0)
    if term.norm == "sequences":
        return votes
    if term.norm == "length":
        return votes * length
    raise ValueError(f"norm {term.norm!r} of the term {term.name}: use tokens, rows, sequences or length")


def term_sum(
    log_probs: torch.Tensor, weights: torch.Tensor, shape: Callable[[torch.Tensor], torch.Tensor] | None
) -> torch.Tensor:
    """sum_t w_t g(sg p_t) (-log p_t), in nats. Positions of weight 0 may hold anything, NaN too.

    Args:
        log_probs, weights: (batch, response).
        shape: g; None is 1.
    """
    kept = torch.where(weights != 0, log_probs, torch.zeros_like(log_probs))
    # A shape may be infinite at 1, the probability that padding is given.
    factor = weights if shape is None else torch.where(weights != 0, weights * shape(kept.detach().exp()), 0.0)
    return -(factor * kept).sum()
