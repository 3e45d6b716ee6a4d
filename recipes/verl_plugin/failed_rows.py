"""Excludes rollouts whose verdict failed: no advantage, gradient or KL, and not counted by any estimator."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import transfer_queue as tq
from tensordict import TensorDict

from reward_fns import has_failed


def failed_keys(keys: list[str], extra_fields: list[dict[str, Any]]) -> list[str]:
    """The keys of rollouts that could not be scored, according to the reward function's reports."""
    reports = [extra.get("reward_extra_info") or {} for extra in extra_fields]
    return [key for key, report in zip(keys, reports, strict=True) if has_failed(report)]


def reports_of(batch: Any, keys: list[str]) -> list[Mapping[str, Any]]:
    """The reward function's reports on these rollouts of a batch."""
    fields = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=["extra_fields"])
    return [extra.get("reward_extra_info") or {} for extra in fields["extra_fields"]]


def mask_failed(batch: Any) -> tuple[set[str], set[str]]:
    """Mask the failed rollouts of a batch (verl's KVBatchMeta) in the data plane.

    response_mask and loss_mask become 0: the first excludes a row from advantages, policy loss, KL and entropy, the
    second from the token count that a loss is divided by, and from the hint's likelihood. The row is also marked as
    padding, so verl's score metrics skip it, as are demonstrations, whose masks are already 0.

    Returns:
        the keys of failed rollouts, and those of demonstrations.
    """
    fields = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=["extra_fields"])
    extras = list(fields["extra_fields"])
    failed = failed_keys(batch.keys, extras)
    shown = [key for key, extra in zip(batch.keys, extras, strict=True) if extra.get("uft", {}).get("demonstration")]
    for key in shown:
        batch.tags[batch.keys.index(key)]["is_padding"] = True
    if shown:
        tq.kv_batch_put(
            keys=shown, partition_id=batch.partition_id, tags=[batch.tags[batch.keys.index(key)] for key in shown]
        )
    if not failed:
        return set(), set(shown)
    masks = tq.kv_batch_get(keys=failed, partition_id=batch.partition_id, select_fields=["response_mask", "loss_mask"])
    tags = [batch.tags[batch.keys.index(key)] for key in failed]
    for tag in tags:
        tag["is_padding"] = True
    zeros = {name: [torch.zeros_like(row) for row in masks[name].unbind()] for name in ("response_mask", "loss_mask")}
    tq.kv_batch_put(keys=failed, partition_id=batch.partition_id, fields=nested(zeros), tags=tags)
    return set(failed), set(shown)


def without_failed(batch: Any, failed: Iterable[str], compute: Callable[[Any], Any]) -> Any:
    """`compute` (verl's advantages, correction) on rollouts with a verdict; other rows get 0 in every new column.

    Masking rows is not enough: some estimators count rows, and 0 / 0 on a row without tokens would be NaN. The rows
    that `mask_failed` and verl mark as padding (demonstrations included) are excluded too: rollout_corr/* are means
    over rows, and a row that was not generated would count as perfect agreement.

    Returns:
        the whole batch, with the computed columns.
    """
    failed, tagged = set(failed), zip(batch.keys, batch.tags, strict=True)
    excluded = [key for key, tag in tagged if key in failed or tag.get("is_padding", False)]
    if not excluded:
        return compute(batch)
    done = compute(batch.select_keys([key for key in batch.keys if key not in set(excluded)]))
    partition = batch.partition_id
    before, after = (tq.kv_batch_get(keys=[key], partition_id=partition)[0] for key in (excluded[0], done.keys[0]))
    masks = tq.kv_batch_get(keys=excluded, partition_id=partition, select_fields=["response_mask"])["response_mask"]
    zeros = [torch.zeros_like(row, dtype=torch.float32) for row in masks.unbind()]
    new = dict.fromkeys(set(after.keys()) - set(before.keys()), zeros)
    tq.kv_batch_put(keys=excluded, partition_id=partition, fields=nested(new))
    return type(done)(
        keys=batch.keys, tags=batch.tags, partition_id=partition, fields=done.fields, extra_info=done.extra_info
    )


def nested(columns: dict[str, list[torch.Tensor]]) -> TensorDict:
    """Columns of rows of different lengths, as verl's data plane stores them."""
    found = {name: torch.nested.as_nested_tensor(values, layout=torch.jagged) for name, values in columns.items()}
    return TensorDict(found, batch_size=len(next(iter(columns.values()))))
