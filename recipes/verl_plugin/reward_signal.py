"""Which rows of a batch an update is moved by on account of their rewards, as the loss will see them."""

from typing import Any

import transfer_queue as tq


def moved_by_reward(batch: Any) -> list[bool]:
    """For every row of verl's KVBatchMeta, in its order: has a token that is trained an advantage?"""
    names = ["advantages", "response_mask"]
    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=names)
    columns = (data[name].unbind() for name in names)
    return [bool((advantage * mask).any()) for advantage, mask in zip(*columns, strict=True)]
