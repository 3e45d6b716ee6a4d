"""Dynamic sampling: DAPO, arXiv 2503.14476, section 3.2. A step trains on prompts whose rollouts differ in reward.

    round 1   the batch's prompts
    round k   prompts in the place of those that are missing, the next ones of the data
Where prompts are missing after the last round, ones without variance fill the batch up. verl's own filter
(algorithm.filter_groups) looks at groups while others are still being drawn, so that what a step is made of depends on
which ended first; here a round is waited for, and what a step takes follows from seed, step and place in the data.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import transfer_queue as tq
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

from recipes.algorithms.losses.group import RIGHT
from recipes.verl_plugin.metrics import rewards_by_prompt
from recipes.verl_plugin.rollout_log import scored_rows
from reward_fns import has_failed


def prompts_to_draw(size: int, varied: int, drawn: int) -> int:
    """Prompts of the next round: what the missing ones take at the rate so far, a batch at most; 0 where none is.

    Args:
        size: prompts that a step trains on.
        varied: prompts with variance among the `drawn` ones.
    """
    missing = max(0, size - varied)
    return min(size, -(-missing * drawn // varied)) if varied else missing


def chosen(varied: Mapping[str, bool], size: int) -> list[str]:
    """The prompts that are trained on, in the order in which they were drawn, which is that of their uids.

    Args:
        varied: by uid, whether a prompt's rollouts differ in reward.
        size: how many; those without variance are taken where others are too few.
    """
    return sorted(sorted(varied, key=lambda uid: (not varied[uid], uid))[:size])


def with_variance(rows: Iterable[Mapping[str, Any]], *, by_verdict: bool = False) -> dict[str, bool]:
    """By uid, whether the rollouts of a prompt that were generated and have a verdict differ in reward.

    Args:
        rows: as `scored_rows` gives them.
        by_verdict: whether the algorithm compares right with wrong alone, and no partial credit.
    """
    known = [{**row, "score": float(row["score"] > RIGHT) if by_verdict else row["score"]} for row in rows]
    silent = [row["uft"].get("demonstration") or has_failed(row["reward"]) for row in known]
    scores = [None if none else row["score"] for row, none in zip(known, silent, strict=True)]
    found = rewards_by_prompt([row["key"] for row in known], scores)
    return {uid: len(rewards) > 1 for uid, rewards in found.items()}


class VariedGroups(ReplayBuffer):
    """verl's synchronous buffer, which draws again where rollouts of a prompt do not differ (its custom_sampler)."""

    thrown: Sequence[dict[str, Any]] = ()
    """Rows of the last step that are not trained on: they were paid for, and are in all metrics of rollouts."""

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[Any, dict[str, float]]:
        """A batch of whole groups, and metrics of how it was found."""
        batch, metrics = super().sample(global_steps, partition_id, batch_size)
        if partition_id != "train":
            return batch, metrics
        tags = dict(zip(batch.keys, batch.tags, strict=True))
        rows, drawn, rounds = _rows(batch), batch_size, 1
        differ = partial(with_variance, by_verdict=self.sampler_kwargs["by_verdict"])
        varied = differ(rows)
        while rounds < self.sampler_kwargs["rounds"]:
            wanted = prompts_to_draw(batch_size, sum(varied.values()), drawn)
            more = self.refill_fn(wanted) if wanted else 0
            if not more:
                break
            batch, _ = super().sample(global_steps, partition_id, more)
            tags |= dict(zip(batch.keys, batch.tags, strict=True))
            rows += _rows(batch)
            drawn, rounds, varied = drawn + more, rounds + 1, differ(rows)
        taken = set(chosen(varied, batch_size))
        self.thrown = [row for row in rows if row["key"].split("_")[0] not in taken]
        if self.thrown:
            tq.kv_clear(keys=[row["key"] for row in self.thrown], partition_id=partition_id)
        kept = [row["key"] for row in rows if row["key"].split("_")[0] in taken]
        flat = sum(not varied[uid] for uid in taken)
        metrics |= {
            "uft/sampling_rounds": float(rounds),
            "uft/prompts_drawn": float(drawn),
            "uft/groups_kept": (len(taken) - flat) / drawn,
            "uft/groups_filled_up": flat / batch_size,
            "uft/thrown_tokens": float(sum(row["uft"]["gen_tokens"] for row in self.thrown)),
        }
        return KVBatchMeta(partition_id=partition_id, keys=kept, tags=[tags[key] for key in kept]), metrics


def _rows(batch: Any) -> list[dict[str, Any]]:
    names = ["extra_fields", "rm_scores"]
    return scored_rows(
        batch.keys, tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=names)
    )
