"""rollouts/<step>.jsonl: the model's input and output, with hint and generation separated."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transfer_queue as tq

from recipes.common.run_dir import write_text


def digest(responses: list[list[int]]) -> int:
    """CRC of all response tokens of a batch, in order: equal in runs that sampled the same texts."""
    value = 0
    for tokens in responses:
        value = zlib.crc32(json.dumps(tokens).encode(), value)
    return value


def scored_rows(keys: Sequence[str], data: Any) -> list[dict[str, Any]]:
    """The inputs of metrics, per row: key, rollout record, reward function's report, score.

    Args:
        data: the columns extra_fields and rm_scores.
    """
    return [
        {"key": key, "uft": extra["uft"], "reward": extra.get("reward_extra_info") or {}, "score": float(score.sum())}
        for key, extra, score in zip(keys, data["extra_fields"], data["rm_scores"].unbind(), strict=True)
    ]


@dataclass(frozen=True)
class StepRollouts:
    """The scored rows of a batch in key order: including demonstrations and failed verdicts, without padding."""

    rows: list[dict[str, Any]]
    prompts: list[list[int]]
    responses: list[list[int]]
    shown: Collection[str]
    """Keys of the demonstrations."""

    @classmethod
    def of(cls, batch: Any, failed: Collection[str], shown: Collection[str]) -> StepRollouts:
        """Fetch the rows. `failed` and `shown`: keys of rows tagged as padding that are not padding."""
        tagged = zip(batch.keys, batch.tags, strict=True)
        keys = sorted(key for key, tag in tagged if key in failed or key in shown or not tag.get("is_padding", False))
        fields = ["extra_fields", "rm_scores", "prompts", "responses"]
        data = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=fields)
        prompts, responses = ([row.tolist() for row in data[name].unbind()] for name in ("prompts", "responses"))
        return cls(scored_rows(keys, data), prompts, responses, shown)

    @property
    def drawn(self) -> list[dict[str, Any]]:
        """The rows that were generated."""
        return [row for row in self.rows if row["key"] not in self.shown]

    def lines(self, tokenizer: Any, numbers: Iterable[int]) -> list[dict[str, Any]]:
        """A record per row: texts, the hint's plan and token counts, the reward function's report."""
        return [_line(tokenizer, self.rows[n], self.prompts[n], self.responses[n]) for n in numbers]


def _line(tokenizer: Any, row: dict[str, Any], prompt: list[int], response: list[int]) -> dict[str, Any]:
    cut = row["uft"]["hint_tokens"]
    return {
        "key": row["key"],
        "prompt": tokenizer.decode(prompt),
        "hint": tokenizer.decode(response[:cut]),
        "output": tokenizer.decode(response[cut:]),
        **row["uft"],
        "score": row["score"],
        **row["reward"],
    }


def write_rollouts(folder: Path, step: int, lines: list[dict[str, Any]]) -> None:
    """Write the records of a step atomically."""
    write_text(folder / f"{step}.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
