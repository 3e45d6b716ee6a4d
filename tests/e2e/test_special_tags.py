"""A model whose answer tags are special tokens: one supervised step, then one reinforcement step."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from data_prep.countdown import generate as countdown
from data_prep.schema import read_rows
from reward_fns import compute_score
from tests.e2e.support import metrics, rollouts, run
from tests.helpers.tokenizers_of_others import TAGS, tokenizer

pytestmark = [pytest.mark.e2e, pytest.mark.extended]


def babbling(folder: Path) -> list[int]:
    """A random model that writes little but answer tags; returns their ids."""
    made = tokenizer("tags")
    made.save_pretrained(folder)
    tags: list[int] = made.convert_tokens_to_ids(list(TAGS))
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(made),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
        eos_token_id=made.eos_token_id,
        pad_token_id=made.pad_token_id,
        bos_token_id=None,
    )
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        # The last normalisation passes one feature on, which is large wherever the model is, and the tags look at it.
        model.model.embed_tokens.weight[:, 0] = 3.0
        model.lm_head.weight[:, 0] = 0.0
        model.lm_head.weight[tags, 0] = 1.0
    model.save_pretrained(folder)
    return tags


def test_tags_that_are_special_tokens_reach_the_reward(tmp_path: Path) -> None:
    babbling(tmp_path / "model")
    countdown.prepare(tmp_path / "data", n_train=8, n_test=4, seed=0, max_number=30, operators="+-*")
    flags = ("--sft_epochs", "1", "--batch_size", "8", "--T", "1", "--test_freq", "1", "--save_freq", "1")
    lengths = ("--max_prompt_length", "640", "--max_hint_length", "192", "--max_response_length", "32")
    short = ("--n_rollout", "2", *lengths, "--log_rollouts", "-1")
    named = ("--model", str(tmp_path / "model"), "--data", str(tmp_path / "data"), "--allow_overlap")
    run(tmp_path / "run", "--algo", "sft_rft", *named, *flags, *short)
    assert metrics(tmp_path / "run/sft")[1]["train/loss"] > 0
    truths = {
        row["prompt"][0]["content"]: row["reward_model"]["ground_truth"]
        for row in read_rows(tmp_path / "data/train.parquet")
    }
    written = rollouts(tmp_path / "run", 1)
    assert len(written) == 16
    assert sum(any(tag in line["output"] for tag in TAGS) for line in written) >= 8
    for line in written:
        # What is logged has every token; the reward saw it but for the end.
        response = line["output"].replace("<|endoftext|>", "")
        found = compute_score("countdown", response, truths[line["prompt"]])
        assert (line["score"], line["pred"]) == (found["score"], found["pred"])
    # The weights go out with the tokenizer that they were trained with.
    kept = AutoTokenizer.from_pretrained(tmp_path / "run/hf/last")
    assert [kept.convert_tokens_to_ids(tag) for tag in TAGS] == tokenizer("tags").convert_tokens_to_ids(list(TAGS))
    items = (tmp_path / "run/eval/base/items.jsonl").read_text().splitlines()
    assert any(any(tag in json.loads(item)["output"] for tag in TAGS) for item in items)
