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
def chained(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    """Supervised fine-tuning for one epoch (4 steps), then two reinforcement steps."""
    out = tmp_path_factory.mktemp("sft_rft") / "run"
    flags = ("--sft_epochs", "1", "--batch_size", str(BATCH), "--T", "2", "--test_freq", "2")
    run(out, "--algo", "sft_rft", "--data", str(small_data), *flags)
    return out


def test_first_loss_is_the_mean_nll_of_the_first_batch(chained: Path, small_data: Path) -> None:
    frame = pd.read_parquet(small_data / "train.parquet")
    order = list(DistributedSampler(range(len(frame)), num_replicas=1, rank=0, shuffle=True, seed=0, drop_last=True))
    model = AutoModelForCausalLM.from_pretrained(EMBEDDED, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    total, count = 0.0, 0
    for row in frame.iloc[order[:BATCH]].itertuples():
        prompt, answer = encode_solution(tokenizer, [dict(message) for message in row.prompt], row.answer)
        with torch.no_grad():
            logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
        total -= torch.log_softmax(logits, -1).gather(-1, torch.tensor(answer)[:, None]).sum().item()
        count += len(answer)
    assert metrics(chained / "sft")[1]["train/loss"] == pytest.approx(total / count, rel=1e-4)


def test_the_supervised_stage_learns_and_the_reinforcement_stage_starts_from_it(chained: Path) -> None:
    supervised, reinforced = metrics(chained / "sft"), metrics(chained)
    assert supervised[4]["train/loss"] < supervised[1]["train/loss"]
    assert {1, 2} <= set(reinforced)
    assert "val/acc" in reinforced[2]
    taught = AutoModelForCausalLM.from_pretrained(chained / "sft/hf/last").state_dict()
    base = AutoModelForCausalLM.from_pretrained(EMBEDDED).state_dict()
    assert any(not torch.equal(taught[name], base[name]) for name in taught)
    config = (chained / "verl.yaml").read_text()
    assert f"path: {chained / 'sft/hf/last'}" in config


def test_the_prompt_of_supervised_rows_is_the_prompt_of_rollouts(chained: Path, small_data: Path) -> None:
    """Text in, text out: what validation showed the model is the prompt that supervised rows begin with."""
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    shown = {json.loads(line)["input"] for line in (chained / "validation/0.jsonl").read_text().splitlines()}
    frame = pd.read_parquet(small_data / "test.parquet")
    for row in frame.itertuples():
        prompt, _ = encode_solution(tokenizer, [dict(message) for message in row.prompt], row.answer)
        assert tokenizer.decode(prompt) in shown
