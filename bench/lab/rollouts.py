"""What a rollout starts from, what the model makes of it, and what that is worth: as recipes/verl_plugin/agent_loop.py
has it, for a whole batch at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from bench.lab.model import Parameters, Shape, empty_cache, hidden, hidden_of_one_more, logits
from data_prep.prompt_styles import STYLES, with_hint
from data_prep.tokens import chat_template, closed, decode_response, encode_given, encode_question, end_tokens, opened
from recipes.algorithms.hints.cut import hint_given
from recipes.settings.experiment import Experiment
from reward_fns import compute_score, has_failed

_FEWER = 0.75
"""Rows that have ended leave the batch once so few are left of it."""


@dataclass(frozen=True)
class Lab:
    """What stays the same through a run."""

    experiment: Experiment
    tokenizer: PreTrainedTokenizerBase
    shape: Shape

    @cached_property
    def template(self) -> dict[str, Any]:
        """What prompts are rendered with."""
        return {"chat_template": chat_template(STYLES[self.experiment.prompt_style], self.tokenizer)}

    @cached_property
    def _encoded(self) -> dict[str, list[int]]:
        return {}

    def encode(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """Token ids of a prompt; each prompt is rendered and encoded once per run."""
        key = json.dumps(messages)
        if key not in self._encoded:
            self._encoded[key] = encode_question(self.tokenizer, messages, **self.template)
        return self._encoded[key]


@dataclass(frozen=True)
class Start:
    """A prompt, and the tokens that its response begins with."""

    prompt: list[int]
    given: list[int]

    whole: bool = False
    """Whether the given tokens are a demonstration, after which nothing is generated."""

    shown: bool = False
    """Whether a hint is in the prompt."""

    @property
    def hinted(self) -> bool:
        """Whether a hint is given: a share of a short solution may hold no text."""
        return self.shown or (bool(self.given) and not self.whole)


@dataclass(frozen=True)
class Rollout:
    """A scored response."""

    start: Start
    generated: list[int]
    text: str
    verdict: Mapping[str, Any]

    @property
    def response(self) -> list[int]:
        return self.start.given + self.generated


def start_of(lab: Lab, row: Mapping[str, Any], plan: Mapping[str, Any]) -> Start:
    """The tokens of a plan.

    Args:
        row: of the data: prompt, hint, answer.
        plan: as recipes/algorithms/hints/cut.py records it.
    """
    e, messages, hint = lab.experiment, list(row["prompt"]), list(row["hint"])

    prompt, answer = lab.encode(messages), row.get("answer") or "".join(hint)
    thought = opened(lab.tokenizer, messages, **lab.template)
    if plan.get("demonstration"):
        solution = closed(lab.tokenizer, answer, thought) if answer else []
        return Start(prompt, solution, whole=True) if 0 < len(solution) <= e.response_length else Start(prompt, [])
    if "wrap" in plan:
        for pieces in range(plan["pieces"], 0, -1):
            shown = lab.encode(with_hint(messages, STYLES[e.prompt_style], "".join(hint[:pieces]), plan["wrap"]))
            if len(shown) <= e.prompt_length:
                return Start(shown, [], shown=True)
        return Start(prompt, [])
    if not plan["pieces"]:
        return Start(prompt, [])
    given, _ = hint_given(
        partial(encode_given, lab.tokenizer, thought=thought), hint, plan["pieces"], answer, e.max_hint_length
    )
    return Start(prompt, given)


def roll(
    lab: Lab,
    parameters: Parameters,
    rows: Sequence[Mapping[str, Any]],
    starts: Sequence[Start],
    *,
    temperature: float,
    seed: int,
) -> list[Rollout]:
    """A response to each start, with its verdict.

    Args:
        rows: of the data, one each.
        seed: of all draws; temperature 0 draws nothing.
    """
    open_ = [place for place, start in enumerate(starts) if not start.whole]
    made = dict(zip(open_, _generate(lab, parameters, [starts[i] for i in open_], temperature, seed), strict=True))
    found = []
    for place, (row, start) in enumerate(zip(rows, starts, strict=True)):
        generated = made.get(place, [])
        text = decode_response(lab.tokenizer, start.given + generated)
        found.append(Rollout(start, generated, text, {"score": 1.0} if start.whole else _verdict(lab, row, text)))
    return found


def _verdict(lab: Lab, row: Mapping[str, Any], text: str) -> Mapping[str, Any]:
    e = lab.experiment
    truth, style = row["reward_model"]["ground_truth"], STYLES[e.prompt_style]
    found = compute_score(row["data_source"], text, truth, reward=e.reward, answer_format=style.answer_format)
    if has_failed(found):
        raise RuntimeError(f"no verdict on {text[-80:]!r}: {dict(found)}; the lab has only rewards that cannot fail")
    return found


@torch.inference_mode()
def _generate(lab: Lab, p: Parameters, starts: Sequence[Start], temperature: float, seed: int) -> list[list[int]]:
    """Generated tokens of each start, the end token included."""
    if not starts:
        return []
    e, ends = lab.experiment, torch.tensor(sorted(end_tokens(lab.tokenizer)))
    begun = [start.prompt + start.given for start in starts]
    room = [min(e.max_response_length, e.response_length - len(start.given)) for start in starts]
    draw = torch.Generator().manual_seed(seed)
    at = torch.tensor([len(ids) for ids in begun])
    ids = torch.zeros(len(begun), int(at.max()), dtype=torch.long)
    for place, each in enumerate(begun):
        ids[place, : len(each)] = torch.tensor(each)
    cache = empty_cache(lab.shape, len(begun), ids.shape[1] + max(room))
    states = hidden(p, lab.shape, ids, cache)[torch.arange(len(begun)), at - 1]
    rows, left = torch.arange(len(begun)), torch.tensor(room)
    found: list[list[int]] = [[] for _ in begun]
    while True:
        token = _drawn(logits(p, states), temperature, draw)
        live = left > 0
        for place, new, counts in zip(rows.tolist(), token.tolist(), live.tolist(), strict=True):
            if counts:
                found[place].append(new)
        left = torch.where(torch.isin(token, ends), 0, left - 1)
        going = left > 0
        if not going.any():
            return found
        if int(going.sum()) <= _FEWER * len(rows):
            rows, left, at, token = rows[going], left[going], at[going], token[going]
            cache = [(keys[going], values[going]) for keys, values in cache]
        states = hidden_of_one_more(p, lab.shape, token, at, cache)
        at = at + 1


def _drawn(scores: torch.Tensor, temperature: float, draw: torch.Generator) -> torch.Tensor:
    """(rows,) a token of each row's (rows, vocabulary) logits, where a uniform number falls in its distribution.

    One random number a row: one a token of the vocabulary (exponential races) took a third of the sampling.
    """
    if not temperature:
        return scores.argmax(-1)
    below = (scores / temperature).softmax(-1).cumsum(-1)
    # Of the sum that rounding leaves, not of 1: a number above the last entry would have no token.
    at = torch.rand(len(scores), 1, generator=draw) * below[:, -1:]
    return torch.searchsorted(below, at, right=True)[:, 0].clamp(max=scores.shape[-1] - 1)
