"""The losses of an update, as verl's ppo_loss and recipes/verl_plugin/actor_loss.py compute them where one update is
made of a batch, so that PPO's ratio is 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from bench.lab.model import Parameters, Shape, hidden, logits
from recipes.algorithms.base import Group, Rows, Weights
from recipes.algorithms.losses.advantage import group_advantage
from recipes.algorithms.losses.terms import streams, term_sum
from recipes.settings.experiment import Experiment

_ROWS = 32
"""Sequences that go through the model at once; their number changes no gradient."""


@dataclass(frozen=True)
class Scored:
    """Log-probabilities of responses and entropies at their positions, each (rows, longest response), 0 on padding."""

    log_probs: torch.Tensor
    entropy: torch.Tensor


def score(p: Parameters, shape: Shape, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]) -> Scored:
    """What the model makes of responses to prompts, at temperature 1."""
    found, width = [], max(map(len, responses))
    for prompt, response in zip(_chunks(prompts), _chunks(responses), strict=True):
        ids = [torch.tensor([*a, *b]) for a, b in zip(prompt, response, strict=True)]
        states = hidden(p, shape, pad_sequence(ids, batch_first=True))
        begins, lengths = (torch.tensor(list(map(len, each))).unsqueeze(-1) for each in (prompt, response))
        place = torch.arange(width)
        row, column = (place < lengths).nonzero(as_tuple=True)
        # The state before a token is what it is drawn from.
        every = logits(p, states[row, begins[row, 0] + column - 1]).log_softmax(-1)
        chosen = every.gather(-1, torch.tensor([token for each in response for token in each]).unsqueeze(-1))[:, 0]
        empty = every.new_zeros(len(response), width)
        found.append([empty.index_put((row, column), each) for each in (chosen, -(every.exp() * every).sum(-1))])
    return Scored(*(torch.cat(each) for each in zip(*found, strict=True)))


def _chunks(rows: Sequence[Sequence[int]]) -> list[Sequence[Sequence[int]]]:
    return [rows[at : at + _ROWS] for at in range(0, len(rows), _ROWS)]


def loss_of(
    e: Experiment,
    s: Any,
    groups: Sequence[Group],
    weighed: Sequence[Weights],
    scored: Scored,
    ref: torch.Tensor | None,
) -> torch.Tensor:
    """The loss of one update on a batch.

    Args:
        s: settings of the algorithm's hooks.
        groups, weighed: of each prompt, its rows following those of the prompt before.
        scored: of all rows, with gradients.
        ref: (rows, L) log-probabilities of the reference model.
    """
    width = scored.log_probs.shape[1]
    gen = _joined([group.gen for group in groups], width)
    if e.algorithm.loss is not None:
        scores = torch.cat([group.scores for group in groups])
        return e.algorithm.loss(scored.log_probs, Rows(scores, gen, ref), s)[0].mean()
    scores = torch.cat([group.scores for group in groups])
    names = [place for place, group in enumerate(groups) for _ in group.plans]
    usual = group_advantage(scores, gen, names)
    advantage = _joined(
        [
            mine.advantage if mine.advantage is not None else usual[at : at + len(group.plans), : group.gen.shape[1]]
            for mine, group, at in zip(weighed, groups, _starts(groups), strict=True)
        ],
        width,
    )
    mask = _joined([group.gen if w.mask is None else w.mask for w, group in zip(weighed, groups, strict=True)], width)
    ratio = (scored.log_probs - scored.log_probs.detach()).exp()
    per_token = -advantage * ratio - e.entropy_coef * scored.entropy
    if e.kl_coef and ref is not None:
        gap = ref - scored.log_probs
        per_token = per_token + e.kl_coef * (gap.exp() - gap - 1).clamp(-10, 10)
    total = _mean(e, per_token.where(mask, 0.0), mask)
    for stream in streams(groups, weighed, updates=1, votes=len(gen), length=e.response_length):
        if not stream.empty and stream.coef:
            weights = _joined(stream.rows, width)
            total = total + stream.coef * term_sum(scored.log_probs, weights, stream.shape)
    return total


def _mean(e: Experiment, per_token: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """As recipes/verl_plugin/loss_config.py has verl divide."""
    if e.hint_nll_agg == "paper" and e.algorithm.uses_hints:
        return per_token.sum() / len(mask)
    if e.algorithm.loss_norm == "length":
        return per_token.sum() / (len(mask) * e.response_length)
    return per_token.sum() / max(1, int(mask.sum()))


def _starts(groups: Sequence[Group]) -> list[int]:
    ends = torch.tensor([len(group.plans) for group in groups]).cumsum(0).tolist()
    return [0, *ends[:-1]]


def _joined(parts: Sequence[torch.Tensor], width: int) -> torch.Tensor:
    """(rows, width) of the groups' (n, L), padded with 0."""
    return torch.cat([torch.nn.functional.pad(part, (0, width - part.shape[1])) for part in parts])
