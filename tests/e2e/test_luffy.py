"""Demonstrations among the rollouts, through verl: two ranks, two updates per step, figures computed again by hand."""

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from recipes.algorithms.luffy import shape
from tests.e2e.support import EMBEDDED, metrics, rollouts, run, small_countdown

pytestmark = [pytest.mark.e2e, pytest.mark.extended]

N = 3
FLAGS = ("--algo", "luffy", "--T", "3", "--seed", "5", "--n_rollout", str(N), "--n_gpu", "2")
SIZES = ("--batch_size", "8", "--mini_batch_size", "4", "--val_size", "16", "--test_freq", "3", "--log_rollouts", "-1")
LENGTH = 64 + 64  # hint and generation of the cpu profile: the longest response


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_countdown(tmp_path_factory.mktemp("data") / "countdown")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    out = tmp_path_factory.mktemp("luffy") / "run"
    run(out, *FLAGS, *SIZES, "--data", str(data))
    return out


def groups(out: Path, step: int) -> list[list[dict[str, Any]]]:
    found = defaultdict(list)
    for line in rollouts(out, step):
        found[line["prompt"]].append(line)
    return list(found.values())


def advantages(group: list[dict[str, Any]]) -> list[float]:
    scores = [line["score"] for line in group]
    return [score - sum(scores) / len(scores) for score in scores]


def test_every_prompt_has_its_solution_beside_its_rollouts(finished: Path, data: Path) -> None:
    answers = {row.prompt[0]["content"]: row.answer for row in pd.read_parquet(data / "train.parquet").itertuples()}
    for step in (1, 2, 3):
        for group in groups(finished, step):
            shown = [line for line in group if line.get("demonstration")]
            assert (len(group), len(shown)) == (N + 1, 1)
            assert shown[0]["output"].startswith(answers[shown[0]["prompt"]])
            assert shown[0]["score"] == 1.0


def test_demonstrations_are_in_no_metric_of_rewards_or_lengths(finished: Path) -> None:
    found = metrics(finished)[1]
    drawn = [line for line in rollouts(finished, 1) if not line.get("demonstration")]
    assert found["uft/demonstrations"] == 8
    assert found["uft/no_demonstration"] == 0
    assert found["critic/score/mean"] == pytest.approx(sum(line["score"] for line in drawn) / len(drawn), abs=1e-6)
    assert found["response_length/mean"] == pytest.approx(sum(line["gen_tokens"] for line in drawn) / len(drawn))
    assert found["training/rollout_probs_diff_max"] < 1e-3


def test_the_policy_loss_is_that_of_pooled_advantages_over_a_constant_length(finished: Path) -> None:
    """Step 1 makes two updates; the second one's ratios are not 1, so it is bounded rather than equal."""
    total = sum(
        advantage * line["gen_tokens"]
        for group in groups(finished, 1)
        for line, advantage in zip(group, advantages(group), strict=True)
    )
    rows = 8 * (N + 1)
    assert metrics(finished)[1]["actor/pg_loss"] == pytest.approx(-total / (rows * LENGTH), abs=2e-3)


def test_the_demonstrations_stream_is_that_of_a_plain_forward_pass(finished: Path) -> None:
    """sum A g(p) (-log p) / (rows x length) by Hugging Face alone, for the first step's base weights."""
    model = AutoModelForCausalLM.from_pretrained(EMBEDDED, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    total = 0.0
    for group in groups(finished, 1):
        for line, advantage in zip(group, advantages(group), strict=True):
            if not line.get("demonstration"):
                continue
            prompt = tokenizer(line["prompt"], add_special_tokens=False)["input_ids"]
            ids = tokenizer(line["output"], add_special_tokens=False)["input_ids"]
            with torch.no_grad():
                logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
            log_probs = torch.log_softmax(logits, -1).gather(-1, torch.tensor(ids)[:, None]).squeeze(-1)
            total += advantage * float((shape(log_probs.exp()) * -log_probs).sum())
    expected = total / (8 * (N + 1) * LENGTH)
    # The first update's half is exact; the second one's policy has moved by one step of Adam.
    assert metrics(finished)[1]["actor/demonstration"] == pytest.approx(expected, rel=0.3)
    assert expected > 0


def test_it_learns_and_stays_finite(finished: Path) -> None:
    for step in (1, 2, 3):
        found = metrics(finished)[step]
        assert math.isfinite(found["actor/grad_norm"])
        assert found["actor/grad_norm"] > 0
