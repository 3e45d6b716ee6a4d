"""Metrics of hints and rewards, from the fields of rollouts in verl's data plane."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from recipes.algorithms.hints.schedule import MAX_SEGMENTS
from reward_fns import SIGNS, has_failed

# Keys of our reward functions -> metrics with their means over a training batch.
REWARD_RATES = {
    "acc": "reward/acc",
    "format": "reward/format_rate",
    "partial": "reward/partial",
    "parse_fail": "reward/parse_fail_rate",
    "reward_error": "reward/reward_error_rate",
    "timeout": "reward/timeout_rate",
}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def hint_metrics(records: list[dict[str, Any]], scores: list[float | None]) -> dict[str, float]:
    """uft/* of one batch.

    Args:
        records: the "uft" entry of every rollout's extra fields.
        scores: the reward of every rollout; None if the verdict failed, which no mean reward includes.

    Returns:
        total tokens generated; mean hint and generated tokens per rollout, the share of the solution that was given,
        and the mean reward by hint length (only uft/score/l=0 is comparable with validation). The latter two use the
        hint actually given (`given`, a share), which is shorter than the planned `length` if that was too long.
    """
    if not records:
        return {}
    shares = [record.get("given", record["length"] / max(1, record["n_segments"])) for record in records]
    by_length: dict[int, list[float]] = defaultdict(list)
    for record, share, score in zip(records, shares, scores, strict=True):
        if score is not None:
            # However short, a hint does not count as length 0.
            by_length[max(1, round(share * record["n_segments"])) if share else 0].append(score)
    metrics = {
        "uft/generated": float(sum(record["gen_tokens"] for record in records)),
        "uft/hint_frac": _mean(shares),
        "uft/hint_tokens": _mean([record["hint_tokens"] + record.get("prompt_hint_tokens", 0.0) for record in records]),
        "uft/gen_tokens": _mean([float(record["gen_tokens"]) for record in records]),
        "uft/truncated": _mean([float(record["truncated"]) for record in records]),
    }
    for length in range(MAX_SEGMENTS + 1):
        if by_length[length]:
            metrics[f"uft/score/l={length}"] = _mean(by_length[length])
    return metrics


def rewards_by_prompt(keys: Sequence[str], scores: Sequence[float | None]) -> dict[str, set[float]]:
    """The distinct rewards of each prompt's rollouts, by uid; arguments as in `without_variance`."""
    seen: dict[str, set[float]] = defaultdict(set)
    for key, score in zip(keys, scores, strict=True):
        seen[key.rsplit("_", 2)[0]] |= set() if score is None else {score}
    return dict(seen)


def without_variance(keys: Sequence[str], scores: Sequence[float | None]) -> float:
    """Share of prompts whose rollouts all have the same reward, and so no advantage over each other.

    Args:
        keys: verl's keys of the rollouts, "<prompt>_<session>_<index>".
        scores: their rewards; None if the verdict failed, which is not counted.
    """
    seen = rewards_by_prompt(keys, scores).values()
    return _mean([float(len(each) < 2) for each in seen]) if seen else 0.0


def without_gradient(moved: Sequence[bool], *, updates: int, ranks: int) -> float:
    """Share of a step's optimiser updates to which rewards contribute no gradient, only the rest of the loss.

    Args:
        moved: for every row of the batch, in training order, whether any of its tokens has an advantage.
        updates: optimiser updates on the batch. verl splits it into one part per rank, and each part into this many.
        ranks: data-parallel ranks.
    """
    size = len(moved) // (updates * ranks)
    parts = [moved[start : start + size] for start in range(0, len(moved), size)]
    return _mean([float(not any(map(any, parts[update::updates]))) for update in range(updates)])


def rollout_metrics(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """All metrics above for one batch: uft/* and reward/*.

    Args:
        rows: the generated rollouts, without demonstrations (rollout_log.py, `scored_rows`).
    """
    scores = [None if has_failed(row["reward"]) else row["score"] for row in rows]
    found = hint_metrics([row["uft"] for row in rows], scores)
    found["uft/groups_without_variance"] = without_variance([row["key"] for row in rows], scores)
    return found | reward_metrics([row["reward"] for row in rows])


def reward_metrics(infos: list[dict[str, Any]]) -> dict[str, float]:
    """reward/* of one batch: rates of what the reward functions report about each answer.

    The rates of failed verdicts are shares of all answers; the others are over answers with a verdict.
    """
    judged = [info for info in infos if not has_failed(info)]
    metrics = {}
    for key, name in REWARD_RATES.items():
        among = infos if key in SIGNS else judged
        values = [float(info[key]) for info in among if isinstance(info.get(key), (int, float))]
        if values:
            metrics[name] = _mean(values)
    return metrics
