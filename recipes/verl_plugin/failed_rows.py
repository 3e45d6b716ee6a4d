"""Rollouts whose verdict failed have no vote: no advantage, gradient or KL, and no part in their group's mean."""

from typing import Any

import torch
import transfer_queue as tq
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu

FAILED_GROUP = "failed"
"""Group (verl's uid) of such rollouts, so that no estimator compares the others of their prompt with them."""

_SIGNS = ("reward_error", "timeout")


def failed_keys(keys: list[str], extra_fields: list[dict[str, Any]]) -> list[str]:
    """The keys of rollouts that could not be scored, by what the reward function reported."""
    reports = [extra.get("reward_extra_info") or {} for extra in extra_fields]
    return [key for key, report in zip(keys, reports, strict=True) if any(report.get(sign) for sign in _SIGNS)]


def mask_failed(batch: Any) -> set[str]:
    """Mask the failed rollouts of a batch (verl's KVBatchMeta) in the data plane; returns their keys.

    response_mask and loss_mask become 0: the first takes a row out of advantages, policy loss, KL and entropy, the
    second out of the number of tokens that a loss is divided by, and it takes the hint's likelihood with it. While
    there are other rows, verl's figures of scores leave the row out too, as those of its own padding.
    """
    fields = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=["extra_fields"])
    failed = failed_keys(batch.keys, list(fields["extra_fields"]))
    if not failed:
        return set()
    masks = tq.kv_batch_get(keys=failed, partition_id=batch.partition_id, select_fields=["response_mask", "loss_mask"])
    columns = {name: [torch.zeros_like(row) for row in masks[name].unbind()] for name in ("response_mask", "loss_mask")}
    zeros = {name: torch.nested.as_nested_tensor(rows, layout=torch.jagged) for name, rows in columns.items()}
    values = TensorDict(zeros, batch_size=len(failed))
    tu.assign_non_tensor_stack(values, "uid", [FAILED_GROUP] * len(failed))
    tags = [batch.tags[batch.keys.index(key)] for key in failed]
    if len(failed) < len(batch.keys):
        for tag in tags:
            tag["is_padding"] = True
    tq.kv_batch_put(keys=failed, partition_id=batch.partition_id, fields=values, tags=tags)
    return set(failed)
