"""A penalty on long answers, subtracted only from the scores that advantages are computed from."""

from collections.abc import Callable
from typing import Any

import torch
import transfer_queue as tq

from recipes.algorithms.losses.overlong import overlong
from recipes.verl_plugin.failed_rows import nested


def with_penalty(
    compute: Callable[[Any], Any], metrics: dict[str, Any], batch: Any, *, longest: int, buffer: int, factor: float
) -> Any:
    """`compute` (verl's advantages) on rm_scores plus factor times the soft overlong punishment (0 or negative).

    Afterwards rm_scores are the unpenalised scores again, from which metrics are computed; token_level_rewards, verl's
    column for rewards after penalties, keeps the penalised ones.

    Args:
        metrics: receives the mean penalty, and the share of answers that are penalised.
        batch: verl's KVBatchMeta of generated rows that have a verdict.
    """
    keys, partition = batch.keys, batch.partition_id
    data = tq.kv_batch_get(keys=keys, partition_id=partition, select_fields=["extra_fields", "rm_scores"])
    scores = list(data["rm_scores"].unbind())
    lengths = [extra["uft"]["gen_tokens"] for extra in data["extra_fields"]]
    penalties = [factor * overlong(length, longest=longest, buffer=buffer) for length in lengths]
    metrics["uft/overlong_penalty"] = sum(penalties) / len(penalties)
    metrics["uft/overlong_share"] = sum(each < 0 for each in penalties) / len(penalties)
    shaped = [row.clone() for row in scores]
    for row, each in zip(shaped, penalties, strict=True):
        row[-1] += each
    _put(batch, rm_scores=shaped, token_level_rewards=shaped)
    done = compute(batch)
    _put(batch, rm_scores=scores)
    return done


def _put(batch: Any, **columns: list[torch.Tensor]) -> None:
    tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=nested(columns))
