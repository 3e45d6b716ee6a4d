"""What the GPU tests share: runs on one device, and figures of a step computed again with Hugging Face alone."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from recipes.algorithms.hints.cut import hint_given
from tests.e2e.support import EMBEDDED, ROOT, kill_after, metrics, rollouts

PROFILE = os.environ.get("UFT_TEST_PROFILE", "1x80gb")
ON_CPU = PROFILE == "cpu"
SEED = 5
RESPONSE = ("--max_response_length", "64")
LENGTHS = (*RESPONSE, "--tokens_per_micro_batch", "4096")
HINTS = ("--max_hint_length", "64")
STEPS = ("--batch_size", "8", "--seed", str(SEED))
# A rate that moves the weights visibly in two steps: a stale engine would be seen.
RL = (*STEPS, "--mini_batch_size", "8", *LENGTHS, "--test_freq", "2", "--log_rollouts", "-1", "--lr", "5e-4")
UFT = ("--algo", "uft", "--T", "6", "--T_hint", "5", *HINTS, *RL)
SHORT = ("--T", "3", *RL)
HINTED = ("--T_hint", "3", *HINTS)


def run(
    out: Path, *flags: str, check: bool = True, overrides: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """run.py with the embedded model on one device; fails the test with its output when it fails."""
    command = [sys.executable, str(ROOT / "run.py"), "--profile", PROFILE, "--out", str(out), *_model(flags), *flags]
    command += ["--stall_minutes", "10", *(("--", *overrides) if overrides else ())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=dict(os.environ))
    if check:
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def kill(out: Path, after: int, *flags: str) -> None:
    """`run`, killed with everything it started when it has recorded step `after`."""
    kill_after(out, after, "--profile", PROFILE, *_model(flags), *flags)


def _model(flags: tuple[str, ...]) -> tuple[str, ...]:
    return () if "--model" in flags else ("--model", str(EMBEDDED))


def hint_nll_by_hugging_face(out: Path, data: Path, step: int = 1) -> tuple[float, int]:
    """(nats a hint token, hint tokens) of a step's rollouts under the base model: a plain forward pass in float32."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(EMBEDDED, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)

    def encode(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    frame = pd.read_parquet(data / "train.parquet")
    rows: dict[str, Any] = {row.prompt[0]["content"]: row for row in frame.itertuples()}
    total, count = 0.0, 0
    for line in rollouts(out, step):
        if not line["hint_tokens"]:
            continue
        row = rows[line["prompt"]]
        pieces = round(line["length"] / line["n_segments"] * len(row.hint))
        hint, prompt = hint_given(encode, list(row.hint), pieces, row.answer, 64)[0], encode(line["prompt"])
        assert len(hint) == line["hint_tokens"]
        with torch.no_grad():
            logits = model(torch.tensor([prompt + hint])).logits[0, len(prompt) - 1 : -1]
        total -= torch.log_softmax(logits, -1).gather(-1, torch.tensor(hint)[:, None]).sum().item()
        count += len(hint)
    return total / count, count


__all__ = [
    "HINTED",
    "LENGTHS",
    "ON_CPU",
    "PROFILE",
    "RESPONSE",
    "SHORT",
    "STEPS",
    "UFT",
    "hint_nll_by_hugging_face",
    "kill",
    "metrics",
    "rollouts",
    "run",
]
