"""Additional passes of the trainer: the same tokens scored under another context, and one more supervised update. Both
use verl's worker group and a separate data partition, never the inference engine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import transfer_queue as tq
from verl.utils.metric import reduce_metrics
from verl.utils.py_functional import rename_dict
from verl.workers.utils.padding import response_from_nested

from data_prep.tokens import closed, decode_response, encode_question, opened
from recipes.algorithms.base import Algorithm, Group
from recipes.checks.returned import refuse_odd_messages
from recipes.verl_plugin.actor_loss import DUE, term_column
from recipes.verl_plugin.failed_rows import nested

RESCORED, SECOND = "uft_rescored", "uft_second"
"""Partitions of verl's data plane."""


@dataclass(frozen=True)
class Encoder:
    """Encodes prompts and solutions as the agent loop does, on the driver."""

    tokenizer: Any
    template: Mapping[str, Any]
    """The run's data.apply_chat_template_kwargs."""

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Token ids of a prompt."""
        return encode_question(self.tokenizer, messages, **self.template)

    def text(self, ids: Sequence[int]) -> str:
        """The text of a response."""
        return decode_response(self.tokenizer, ids)

    def solution(self, messages: Sequence[Mapping[str, str]], text: str) -> list[int]:
        """Token ids of a prompt's solution and the end-of-text token."""
        return closed(self.tokenizer, text, opened(self.tokenizer, messages, **self.template))


def rescore(
    algorithm: Algorithm,
    settings: Any,
    batch: Any,
    rows: list[list[int]],
    groups: list[Group],
    *,
    workers: Any,
    encoder: Encoder,
    temperature: float,
    longest: int,
) -> tuple[list[Group], dict[str, float]]:
    """(groups with `rescored`, metrics): every row's tokens scored again under the algorithm's `context`.

    All rows of the batch are scored, so that it divides among ranks as before; rows without a context, or with one that
    is too long, keep their scores.

    Args:
        workers: verl's worker group of the actor.
        temperature: of the rollouts; verl divides all logits by it.
        longest: maximal tokens of context plus response.
    """
    assert algorithm.context is not None
    names = ["prompts", "responses", "response_mask"]
    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=names)
    prompts, responses, masks = (list(data[name].unbind()) for name in names)
    asked: set[int] = set()
    too_long = 0
    for members, group in zip(rows, groups, strict=True):
        for place, row in enumerate(members):
            messages = algorithm.context(place, group, settings) if group.ok[place] else None
            refuse_odd_messages(messages)
            if messages is None:
                continue
            ids = encoder.prompt(messages)
            if len(ids) + len(responses[row]) > longest:
                too_long += 1
                continue
            prompts[row] = torch.tensor(ids, dtype=prompts[row].dtype)
            asked.add(row)
    scored = score(batch.keys, batch.tags, prompts, responses, masks, workers=workers, temperature=temperature)
    done = []
    for members, group in zip(rows, groups, strict=True):
        value = group.old.clone()
        for place, row in enumerate(members):
            if row in asked:
                value[place, : len(scored[row])] = scored[row].float()
        done.append(replace(group, rescored=value))
    return done, {"uft/rescored": float(len(asked)), "uft/context_too_long": float(too_long)}


def score(
    keys: Sequence[str],
    tags: Sequence[Mapping[str, Any]],
    prompts: list[torch.Tensor],
    responses: list[torch.Tensor],
    masks: list[torch.Tensor],
    *,
    workers: Any,
    temperature: float,
) -> Sequence[torch.Tensor]:
    """Log-probabilities of every row's response under the current actor; the rows must divide among the ranks.

    Args: see `rescore`; keys and tags of verl's rows; prompts, responses and masks: one tensor per row.
    """
    meta = _put(RESCORED, keys, tags, prompts, responses, masks)
    # Not the batch's own extra_info: scoring the reference leaves no_lora_adapter in it.
    meta.extra_info = {"calculate_entropy": False, "compute_loss": False, "temperature": temperature}
    try:
        workers.compute_log_prob(meta)
        found = tq.kv_batch_get(keys=list(keys), partition_id=RESCORED, select_fields=["log_probs", "response_mask"])
        scored: Sequence[torch.Tensor] = response_from_nested(found["log_probs"], found["response_mask"]).unbind()
    finally:
        tq.kv_clear(keys=list(keys), partition_id=RESCORED)
    return scored


def second_update(
    problems: Sequence[tuple[Sequence[Mapping[str, str]], str]],
    *,
    workers: Any,
    ranks: int,
    encoder: Encoder,
    temperature: float,
    longest: int,
    step: int,
) -> dict[str, float]:
    """One optimiser step on -log pi(solution), averaged over all tokens of these solutions; returns its metrics, due/*.

    It shares optimiser and learning rate with the step's own update and advances the scheduler once more (verl's is
    constant here). Rows that only pad to the number of ranks have no weight.

    Args:
        problems: (messages, solution) of each; those without a solution, or over `longest` tokens, are skipped.
        ranks: data-parallel ranks.
    """
    known = [(encoder.prompt(messages), encoder.solution(messages, text)) for messages, text in problems if text]
    rows = [(prompt, answer) for prompt, answer in known if len(prompt) + len(answer) <= longest]
    metrics = {"due/rows": float(len(rows)), "due/skipped": float(len(problems) - len(rows))}
    if not rows:
        return metrics
    weight = 1.0 / sum(len(answer) for _, answer in rows)
    weights = [torch.full((len(answer),), weight) for _, answer in rows]
    while len(rows) % ranks:
        rows.append(min(rows, key=lambda row: len(row[0]) + len(row[1])))
        weights.append(torch.zeros(len(rows[-1][1])))
    keys = [f"{step:07d}-due{place:06d}_0_0" for place in range(len(rows))]
    prompts, answers = ([torch.tensor(row[side]) for row in rows] for side in (0, 1))
    masks = [torch.ones(len(answer), dtype=torch.long) for answer in answers]
    meta = _put(SECOND, keys, [{"is_padding": False} for _ in keys], prompts, answers, masks, weights)
    meta.extra_info = {
        DUE: True,
        "calculate_entropy": False,
        "distillation_use_topk": False,
        "distillation_only": False,
        "global_batch_size": len(rows),
        "mini_batch_size": len(rows),
        "epochs": 1,
        "seed": 0,
        "dataloader_kwargs": {"shuffle": False},
        "temperature": temperature,
    }
    try:
        output = workers.update_actor(meta)
    finally:
        tq.kv_clear(keys=keys, partition_id=SECOND)
    found = reduce_metrics(rename_dict(output["metrics"], "due/"))
    return metrics | {name: float(found[name]) for name in ("due/nll", "due/grad_norm")}


def _put(
    partition: str,
    keys: Sequence[str],
    tags: Sequence[Mapping[str, Any]],
    prompts: list[torch.Tensor],
    responses: list[torch.Tensor],
    masks: list[torch.Tensor],
    weights: list[torch.Tensor] | None = None,
) -> Any:
    """Put rows of prompt and response into a separate partition; returns kv_batch_put's batch."""
    ids = [torch.cat([prompt, response]) for prompt, response in zip(prompts, responses, strict=True)]
    columns = {
        "prompts": prompts,
        "responses": responses,
        "input_ids": ids,
        "position_ids": [torch.arange(len(row)) for row in ids],
        "response_mask": masks,
        "loss_mask": masks,
        **({term_column(0): weights} if weights is not None else {}),
    }
    tags = [
        {**tag, "prompt_len": len(prompt), "seq_len": len(row)}
        for tag, prompt, row in zip(tags, prompts, ids, strict=True)
    ]
    return tq.kv_batch_put(keys=list(keys), partition_id=partition, fields=nested(columns), tags=tags)
