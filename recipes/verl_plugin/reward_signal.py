"""Which rows of a batch contribute a gradient to an update through their rewards."""

from collections.abc import Collection
from typing import Any

import transfer_queue as tq


def moved_by_reward(batch: Any, rewarded: Collection[int] = ()) -> list[bool]:
    """For every row of verl's KVBatchMeta, in order: whether any trained token has an advantage, or a weight in a term
    that comes from rewards.

    Args:
        rewarded: rows with such a weight.
    """
    names = ["advantages", "response_mask"]
    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=names)
    rows = zip(*(data[name].unbind() for name in names), strict=True)
    return [row in rewarded or bool((advantage * mask).any()) for row, (advantage, mask) in enumerate(rows)]
