"""Connects verl's data plane to an algorithm's `weigh`: rows grouped by prompt in, per-token weights out."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import transfer_queue as tq

from data_prep.schema import solution_of
from recipes.algorithms import name_of_shape
from recipes.algorithms.base import Algorithm, Bare, Demonstration, Group, Hint, Plan, Weights
from recipes.algorithms.losses.terms import streams
from recipes.checks.algorithm_check import told
from recipes.checks.returned import refuse_odd_weights
from recipes.verl_plugin.actor_loss import TERMS, term_column
from recipes.verl_plugin.failed_rows import nested

MASKS = ("response_mask", "loss_mask")

CORRECTION = "rollout_is_weights"
"""verl's column of correction weights, with --rollout_correction."""


@dataclass(frozen=True)
class Weighed:
    """A batch with the columns that the algorithm has computed."""

    batch: Any
    """verl's KVBatchMeta with the columns of the terms."""

    groups: list[Group]

    metrics: dict[str, float]
    """uft/*: means over prompts."""

    rewarded: set[int]
    """Rows of the batch in which a term has a weight that comes from rewards."""

    masks: dict[str, dict[str, torch.Tensor]]
    """The original masks by column and key, if the algorithm's own replace them."""


def plan_of(record: Mapping[str, Any]) -> Plan:
    """The plan of a rollout, from its record."""
    if record.get("demonstration"):
        return Demonstration()
    if record["length"] or "share" in record:
        where: Literal["response", "prompt"] = "prompt" if record.get("in_prompt") else "response"
        return Hint(segments=record["length"], share=record.get("share"), where=where)
    return Bare()


def prompt_of(key: str) -> str:
    """The prompt uid in a key of verl's data plane."""
    return key.rpartition("_")[0].rpartition("_")[0]


def read_groups(
    batch: Any,
    *,
    failed: Iterable[str],
    demonstrations: Iterable[str],
    step: int,
    reference: bool,
    shaped: bool,
    problems: Mapping[str, Mapping[str, Any]] | None = None,
    text: Callable[[list[int]], str] | None = None,
) -> tuple[list[list[int]], list[Group]]:
    """(rows, groups): the batch's row numbers and the Group of each prompt, with prompts in key order.

    verl's padding rows are in no group.

    Args:
        batch: verl's KVBatchMeta with advantages.
        failed: keys of rollouts whose verdict failed.
        demonstrations: keys of rows that were not generated.
        reference: whether the batch has log-probabilities of a reference model.
        shaped: whether a penalty was subtracted from the rewards (penalty.py, verl's algorithm.use_kl_in_reward).
        problems: by uid, the data rows of the prompts.
        text: decodes a response, if the algorithm reads the texts of rollouts.
    """
    names = ["extra_fields", "responses", "response_mask", "old_log_probs", "entropy", "rm_scores"]
    names += [*(["token_level_rewards"] if shaped else []), *(["ref_log_prob"] if reference else [])]
    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=names)
    records = [extra.get("uft") for extra in data["extra_fields"]]
    lengths = [len(row) for row in data["responses"].unbind()]
    # verl has no entropy if it uses the engine's log-probabilities as its own.
    columns = {name: data[name].unbind() for name in names[2:] if name in data}
    responses = data["responses"].unbind()
    without_verdict, kept = set(failed), {*failed, *demonstrations}
    members: dict[str, list[int]] = defaultdict(list)
    for row, (key, tag, record) in enumerate(zip(batch.keys, batch.tags, records, strict=True)):
        if record and (key in kept or not tag.get("is_padding", False)):
            members[prompt_of(key)].append(row)
    uids = sorted(members)
    rows = [sorted(members[uid], key=lambda row: batch.keys[row]) for uid in uids]
    groups = []
    for uid, each in zip(uids, rows, strict=True):
        problem = (problems or {}).get(uid, {})
        width = max(lengths[row] for row in each)

        def padded(name: str, each: list[int] = each, width: int = width) -> torch.Tensor:
            return torch.stack([_pad(columns[name][row].float(), width) for row in each])

        known = [records[row] for row in each]
        ok = torch.tensor([batch.keys[row] not in without_verdict for row in each])
        demo, given = (torch.zeros(len(each), width, dtype=torch.bool) for _ in range(2))
        for place, (row, record) in enumerate(zip(each, known, strict=True)):
            demo[place, : lengths[row] if record.get("demonstration") else 0] = True
            given[place, : record["hint_tokens"]] = True
        # A demonstration was not generated, so its score has no penalty.
        scores, rewards = padded("rm_scores").sum(-1), padded("token_level_rewards").sum(-1) if shaped else None
        groups.append(
            Group(
                scores=(scores if rewards is None else scores.where(demo.any(-1), rewards)) * ok,
                ok=ok,
                plans=tuple(plan_of(record) for record in known),
                given=given & ok.unsqueeze(-1),
                gen=padded("response_mask").bool(),
                demo=demo,
                old=padded("old_log_probs"),
                ref=padded("ref_log_prob") if reference else None,
                key=known[0].get("prompt_key", ""),
                step=step,
                segments=known[0]["n_segments"],
                entropy=padded("entropy") if "entropy" in columns else None,
                hinted=any(record.get("given", 0) > 0 for record in known),
                messages=list(problem.get("raw_prompt") or ()),
                solution=solution_of(problem),
                texts=() if text is None else tuple(text(responses[row].tolist()) for row in each),
                unshaped=scores * ok if shaped else None,
            )
        )
    return rows, groups


def token_mean(batch: Any, name: str) -> float:
    """The mean of a column over generated tokens."""
    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=[name, "response_mask"])
    values, mask = (torch.cat(data[each].unbind()).float() for each in (name, "response_mask"))
    return float((values * mask).sum() / mask.sum().clamp(min=1))


def _pad(row: torch.Tensor, width: int) -> torch.Tensor:
    return torch.nn.functional.pad(row, (0, width - len(row)))


def weigh(
    algorithm: Algorithm,
    file: str,
    s: Any,
    batch: Any,
    rows: list[list[int]],
    groups: list[Group],
    *,
    updates: float,
    votes: float,
) -> Weighed:
    """Call the algorithm's `weigh` for every prompt, and write the results into the batch's columns.

    Rows without a verdict get 0 whatever the algorithm returns; so do verl's padding rows.

    Args:
        file: the value of --algo.
        updates: optimiser steps on the batch.
        votes: rows per optimiser step with a verdict.
    """
    with told(file, tried=False):
        weighed = [algorithm.weigh(group, s) for group in groups]
        for group, each in zip(groups, weighed, strict=True):
            refuse_odd_weights(each, group)
    lengths = _lengths(batch)
    columns: dict[str, list[torch.Tensor]] = {}
    if any(each.advantage is not None for each in weighed):
        values = [each.advantage for each in weighed if each.advantage is not None]
        if len(values) < len(groups):
            estimated = _column("advantages", batch, rows, groups)
            values = [
                theirs if each.advantage is None else each.advantage
                for each, theirs in zip(weighed, estimated, strict=True)
            ]
        values = [value * group.ok.unsqueeze(-1) for value, group in zip(values, groups, strict=True)]
        columns["advantages"] = columns["returns"] = _rows(values, rows, lengths)
    corrections = _corrections(batch, rows, groups)
    if corrections is not None:
        columns[CORRECTION] = _rows(corrections, rows, lengths)
    sent: list[list[Any]] = []
    rewarded: set[int] = set()
    for stream in streams(groups, weighed, updates=updates, votes=votes, length=s.response_length):
        if stream.empty:  # no mean exists
            continue
        values = stream.rows
        if corrections is not None:
            values = [value * weight for value, weight in zip(values, corrections, strict=True)]
        found = columns[term_column(len(sent))] = _rows(values, rows, lengths)
        if stream.rewarded and stream.coef:
            rewarded |= {row for row, value in enumerate(found) if value.any()}
        sent.append([stream.name, stream.coef, name_of_shape(stream.shape, file) if stream.shape else ""])
    masks = _swap_masks(batch, weighed, groups, rows, lengths, columns)
    batch = put(batch, columns) if columns else batch
    batch.extra_info[TERMS] = json.dumps(sent)
    return Weighed(batch, groups, _means(weighed), rewarded, masks)


def _corrections(batch: Any, rows: list[list[int]], groups: list[Group]) -> list[torch.Tensor] | None:
    """(n, L) of each group: verl's weights on generated tokens, 1 on all others; None without corrections.

    verl gives 0 to tokens outside its mask. Tokens that the engine did not generate, of a trained prefix or a
    demonstration, need no correction and count in full.
    """
    if CORRECTION not in (batch.fields or ()):
        return None
    found = _column(CORRECTION, batch, rows, groups)
    return [weights.where(group.gen, 1.0) for weights, group in zip(found, groups, strict=True)]


def _column(name: str, batch: Any, rows: list[list[int]], groups: list[Group]) -> list[torch.Tensor]:
    """(n, L) of each group."""
    values = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=[name])[name].unbind()
    return [
        torch.stack([_pad(values[row].float(), group.gen.shape[1]) for row in each])
        for each, group in zip(rows, groups, strict=True)
    ]


def _swap_masks(
    batch: Any,
    weighed: list[Weights],
    groups: list[Group],
    rows: list[list[int]],
    lengths: list[int],
    columns: dict[str, list[torch.Tensor]],
) -> dict[str, dict[str, torch.Tensor]]:
    """Replace PPO's masks if the algorithm has its own; returns the originals, to restore after the update."""
    if all(each.mask is None for each in weighed):
        return {}
    chosen = [
        (group.gen if each.mask is None else each.mask) & group.ok.unsqueeze(-1)
        for each, group in zip(weighed, groups, strict=True)
    ]
    before = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=list(MASKS))
    for name in MASKS:
        columns[name] = [row.long() for row in _rows([mask.float() for mask in chosen], rows, lengths)]
    return {name: dict(zip(batch.keys, before[name].unbind(), strict=True)) for name in MASKS}


def restore_masks(batch: Any, masks: dict[str, dict[str, torch.Tensor]]) -> None:
    """Restore the masks that `weigh` has replaced."""
    if masks:
        put(batch, {name: [by_key[key] for key in batch.keys] for name, by_key in masks.items()})


def _lengths(batch: Any) -> list[int]:
    found = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=["response_mask"])
    return [len(row) for row in found["response_mask"].unbind()]


def _rows(values: list[torch.Tensor], rows: list[list[int]], lengths: list[int]) -> list[torch.Tensor]:
    """(n, L) of every group -> one tensor of its own length per row of the batch, 0 for rows of no group."""
    found = [torch.zeros(length) for length in lengths]
    for value, members in zip(values, rows, strict=True):
        for place, row in enumerate(members):
            found[row] = value[place, : lengths[row]].float()
    return found


def put(batch: Any, columns: dict[str, list[torch.Tensor]]) -> Any:
    """Write columns for every row; returns the batch with them among its fields."""
    done = tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=nested(columns))
    return type(batch)(
        keys=batch.keys,
        tags=batch.tags,
        partition_id=batch.partition_id,
        fields=done.fields,
        extra_info=batch.extra_info,
    )


def _means(weighed: list[Weights]) -> dict[str, float]:
    names = {name for each in weighed for name in each.metrics}
    values = {name: [float(each.metrics[name]) for each in weighed if name in each.metrics] for name in sorted(names)}
    return {f"uft/{name}": sum(found) / len(found) for name, found in values.items()}
