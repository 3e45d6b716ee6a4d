"""Dynamic sampling: DAPO, arXiv 2503.14476, section 3.2. A step trains on prompts whose rollouts differ in reward.

    round 1   the batch's prompts
    round k   the next prompts of the data, as replacements for prompts without variance
If the last round still leaves too few prompts, ones without variance fill the batch. verl's own filter
(algorithm.filter_groups) judges groups while others are still being generated, so the contents of a step depend on
which end first; here every round is completed first, and a step's prompts depend only on seed, step and data position.
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
    """Prompts to draw in the next round: as many as the missing ones need at the rate so far, at most one batch; 0 if
    none are missing.

    Args:
        size: prompts that a step trains on.
        varied: prompts with variance among the `drawn` ones."""
    missing = max(0, size - varied)
    return min(size, -(-missing * drawn // varied)) if varied else missing


def chosen(varied: Mapping[str, bool], size: int) -> list[str]:
    """The prompts to train on, in the order in which they were drawn, i.e. of their uids.

    Args:
        varied: by uid, whether a prompt's rollouts differ in reward.
        size: how many; prompts without variance are used only if there are too few others.
    """
    return sorted(sorted(varied, key=lambda uid: (not varied[uid], uid))[:size])


def with_variance(rows: Iterable[Mapping[str, Any]], *, by_verdict: bool = False) -> dict[str, bool]:
    """By uid, whether a prompt's generated rollouts with a verdict differ in reward.

    Args:
        rows: as returned by `scored_rows`.
        by_verdict: whether the algorithm only distinguishes right from wrong, without partial credit.
    """
    known = [{**row, "score": float(row["score"] > RIGHT) if by_verdict else row["score"]} for row in rows]
    silent = [row["uft"].get("demonstration") or has_failed(row["reward"]) for row in known]
    scores = [None if none else row["score"] for row, none in zip(known, silent, strict=True)]
    found = rewards_by_prompt([row["key"] for row in known], scores)
    return {uid: len(rewards) > 1 for uid, rewards in found.items()}


class VariedGroups(ReplayBuffer):
    """verl's synchronous buffer, which replaces prompts whose rollouts do not differ (its custom_sampler)."""

    thrown: Sequence[dict[str, Any]] = ()
    """Discarded rows of the last step: not trained on, but generated, and so included in all rollout metrics."""

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[Any, dict[str, float]]:
        """A batch of complete groups, and metrics of the sampling."""
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
