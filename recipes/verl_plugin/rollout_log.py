"""rollouts/<step>.jsonl: what the model was given and what it wrote, hint and generation apart."""

import json
import zlib
from pathlib import Path
from typing import Any

from recipes.run_dir import write_text


def digest(responses: list[list[int]]) -> int:
    """One number for all response tokens of a batch, in order: equal in two runs that sampled the same texts."""
    value = 0
    for tokens in responses:
        value = zlib.crc32(json.dumps(tokens).encode(), value)
    return value


def rollout_lines(
    tokenizer: Any, rows: list[dict[str, Any]], prompts: list[list[int]], responses: list[list[int]]
) -> list[dict[str, Any]]:
    """One record a rollout: texts, the hint's plan and token counts, and what the reward function said."""
    lines = []
    for row, prompt, response in zip(rows, prompts, responses, strict=True):
        cut = row["uft"]["hint_tokens"]
        lines.append(
            {
                "key": row["key"],
                "prompt": tokenizer.decode(prompt),
                "hint": tokenizer.decode(response[:cut]),
                "output": tokenizer.decode(response[cut:]),
                **row["uft"],
                "score": row["score"],
                **row["reward"],
            }
        )
    return lines


def write_rollouts(folder: Path, step: int, lines: list[dict[str, Any]]) -> None:
    """Write the records of a step in one piece."""
    write_text(folder / f"{step}.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
