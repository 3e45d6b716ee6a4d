"""Hint reliance: how much less likely a hinted success is without its hint, by an additional pass of the trainer.

It affects no rollouts, losses or random draws: it only reads the batch and scores additional rows.
"""

from typing import Any

import torch
import transfer_queue as tq

from recipes.algorithms.base import Group, Hint
from recipes.algorithms.losses.group import right
from recipes.algorithms.losses.reliance import hint_reliance
from recipes.verl_plugin.passes import Encoder, score

MOST_ROWS = 64
"""Maximal number of hinted successes that are scored, spread evenly over the step's prompts."""


def spread(found: list[Any], most: int) -> list[Any]:
    """At most `most` of them, evenly spaced and in order."""
    return [found[place * len(found) // most] for place in range(most)] if len(found) > most else found


def reliance(
    batch: Any,
    rows: list[list[int]],
    groups: list[Group],
    *,
    workers: Any,
    ranks: int,
    encoder: Encoder,
    temperature: float,
    longest: int,
) -> dict[str, float]:
    """uft/hint_reliance (recipes/algorithms/losses/reliance.py) of the step's hinted successes, and their number.

    A hint in the response is removed from it; a question with a hint is replaced by the question without.
    Empty if no rollout that was given a hint is right.

    Args: see recipes/verl_plugin/passes.py.
    """
    hinted = [
        (row, place, group)
        for members, group in zip(rows, groups, strict=True)
        for place, (row, is_right) in enumerate(zip(members, right(group).tolist(), strict=True))
        if is_right and isinstance(group.plans[place], Hint)
    ]
    names = ["prompts", "responses"]
    keys = [batch.keys[row] for row, _, _ in hinted]
    if not keys:
        return {}
    data = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=names)
    known = []
    for (_, place, group), prompt, response in zip(hinted, *(data[name].unbind() for name in names), strict=True):
        first, length = int(group.given[place].sum()), len(response)
        asked = prompt
        if getattr(group.plans[place], "where", "") == "prompt":
            asked = torch.tensor(encoder.prompt(group.messages), dtype=prompt.dtype)
        # If a hint was too long, nothing was given.
        if first or not torch.equal(asked, prompt):
            known.append((asked, response[first:], group.gen[place, first:length], group.old[place, first:length]))
    known = spread([row for row in known if len(row[0]) + len(row[1]) <= longest], MOST_ROWS)
    if not known:
        return {}
    # Padded to a multiple of the ranks.
    sent = known + [known[-1]] * (-len(known) % ranks)
    prompts, responses, gens = ([row[side] for row in sent] for side in range(3))
    scored = score(
        [f"reliance{place:06d}_0_0" for place in range(len(sent))],
        [{"is_padding": False}] * len(sent),
        prompts,
        responses,
        [torch.ones_like(response) for response in responses],
        workers=workers,
        temperature=temperature,
    )
    without = [values.float() for values in scored[: len(known)]]
    value = hint_reliance([row[3] for row in known], without, gens[: len(known)])
    return {"uft/hint_reliance": value, "uft/hint_reliance_rows": float(len(known))}
