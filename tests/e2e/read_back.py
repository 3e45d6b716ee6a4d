"""What a run has published, read back by plain transformers."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from data_prep.prompt_styles import ASSISTANT_STARTS


def answers(weights: Any, tokenizer: Any, out: Path, tokens: int) -> list[tuple[str, str]]:
    """(prompt, greedy answer of so many tokens) of the run's validation problems, in the chat style."""
    found = []
    for row in pd.read_parquet(out / "data/validation.parquet").itertuples():
        asked = [dict(message) for message in row.prompt]
        text = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False) + ASSISTANT_STARTS
        found.append((text, greedy(weights, tokenizer, text, tokens)))
    return sorted(found)


def greedy(weights: Any, tokenizer: Any, prompt: str, tokens: int) -> str:
    """What transformers says to a prompt, in so many tokens."""
    ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
    done = weights.generate(**ids, max_new_tokens=tokens, do_sample=False)[0, ids["input_ids"].shape[1] :]
    return str(tokenizer.decode(done, skip_special_tokens=True))


def validated(out: Path) -> list[tuple[str, str]]:
    """The same, as the run's last validation has them."""
    last = max((out / "validation").glob("*.jsonl"), key=lambda file: int(file.stem))
    rows = [json.loads(line) for line in last.read_text(encoding="utf-8").splitlines()]
    return sorted((row["input"], row["output"]) for row in rows)
