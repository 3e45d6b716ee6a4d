"""sft and sft_rft: verl's SFT trainer on our rows, first loss against a plain forward pass, stages that chain."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.utils.data import DistributedSampler
from transformers import AutoModelForCausalLM, AutoTokenizer

from recipes.verl_plugin.sft_dataset import encode_solution
from tests.e2e.support import EMBEDDED, metrics, run

pytestmark = pytest.mark.e2e

BATCH = 16


@pytest.fixture(scope="module")
def chained(tmp_path_factory: pytest.TempPathFactory, small_data: Path, serve: dict[str, str]) -> Path:
    """Supervised fine-tuning for one epoch (4 steps), then two reinforcement steps."""
    out = tmp_path_factory.mktemp("sft_rft") / "run"
    flags = ("--sft_epochs", "1", "--batch_size", str(BATCH), "--T", "2", "--test_freq", "2")
    run(out, "--algo", "sft_rft", "--data", str(small_data), *flags, env=serve)
    return out


def mean_nll(weights: Path, rows: pd.DataFrame) -> float:
    """Mean negative log-likelihood of solution tokens, one row at a time through Hugging Face."""
    model = AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    total, count = 0.0, 0
    for row in rows.itertuples():
        prompt, answer = encode_solution(tokenizer, [dict(message) for message in row.prompt], row.answer)
        with torch.no_grad():
            logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
        total -= torch.log_softmax(logits, -1).gather(-1, torch.tensor(answer)[:, None]).sum().item()
        count += len(answer)
    return total / count


def test_first_loss_is_the_mean_nll_of_the_first_batch(chained: Path, small_data: Path) -> None:
    frame = pd.read_parquet(small_data / "train.parquet")
    order = list(DistributedSampler(range(len(frame)), num_replicas=1, rank=0, shuffle=True, seed=0, drop_last=True))
    expected = mean_nll(EMBEDDED, frame.iloc[order[:BATCH]])
    assert metrics(chained / "sft")[1]["train/loss"] == pytest.approx(expected, rel=1e-4)


def test_the_supervised_stage_learns_and_the_reinforcement_stage_starts_from_it(
    chained: Path, small_data: Path
) -> None:
    frame = pd.read_parquet(small_data / "train.parquet")
    taught = chained / "sft/hf/last"
    assert mean_nll(taught, frame) < mean_nll(EMBEDDED, frame) - 0.01
    assert metrics(chained / "sft")[4]["train/lr"] == pytest.approx(0.0, abs=1e-9)
    assert {1, 2} <= set(metrics(chained))
    assert "val/acc" in metrics(chained)[2]
    assert f"path: {taught}" in (chained / "verl.yaml").read_text()


def test_the_prompt_of_supervised_rows_is_the_prompt_of_rollouts(chained: Path, small_data: Path) -> None:
    """Text in, text out: what validation showed the model is the prompt that supervised rows begin with."""
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    shown = {json.loads(line)["input"] for line in (chained / "validation/0.jsonl").read_text().splitlines()}
    frame = pd.read_parquet(small_data / "test.parquet")
    for row in frame.itertuples():
        prompt, _ = encode_solution(tokenizer, [dict(message) for message in row.prompt], row.answer)
        assert tokenizer.decode(prompt) in shown
