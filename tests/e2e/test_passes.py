"""Hints in the question, scoring under another context and a second update, through verl: two ranks, two updates per
step, a temperature that is not 1."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from recipes.algorithms.hints.cut import memory_key
from recipes.verl_plugin.agent_loop import prompt_key
from tests.e2e.support import EMBEDDED, ROOT, metrics, rollouts, run, small_countdown

pytestmark = pytest.mark.e2e

TEMPERATURE = 0.7
ALGORITHM = str(ROOT / "tests/e2e/passes_algorithm.py")
FLAGS = ("--algo", ALGORITHM, "--T", "2", "--seed", "5", "--n_rollout", "4", "--n_gpu", "2")
# The embedded tokenizer spells the words around a hint letter by letter.
ROOM = ("--max_hint_length", "384")
SIZES = ("--batch_size", "8", "--mini_batch_size", "4", "--val_size", "16", "--test_freq", "1", "--log_rollouts", "-1")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_countdown(tmp_path_factory.mktemp("data") / "countdown")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    out = tmp_path_factory.mktemp("passes") / "run"
    run(out, *FLAGS, *SIZES, *ROOM, "--temperature", str(TEMPERATURE), "--data", str(data))
    return out


def test_half_a_solution_stands_in_every_fourth_question(finished: Path, data: Path) -> None:
    rows = {row.prompt[0]["content"]: row for row in pd.read_parquet(data / "train.parquet").itertuples()}
    for step in (1, 2):
        lines = rollouts(finished, step)
        bare = {line["prompt"] for line in lines} & set(rows)
        hinted = [line for line in lines if line.get("in_prompt")]
        assert (len(lines), len(bare), len(hinted)) == (32, 8, 8)
        for line in hinted:
            [row] = [rows[text] for text in bare if line["prompt"].startswith(text.split(" Show your work")[0])]
            shown = "".join(row.hint[: round(0.5 * len(row.hint))])
            assert f"Here is the beginning of a solution:\n{shown}" in line["prompt"]
            assert line["prompt"].endswith("<think> ")
            assert line["hint_tokens"] == 0


def test_the_same_prompt_gives_the_same_log_probabilities_and_another_one_others(finished: Path) -> None:
    for step in (1, 2):
        found = metrics(finished)[step]
        assert found["uft/rescored"] == 24
        assert found["uft/context_too_long"] == 0
        assert found["uft/solutions"] == 1
        assert found["uft/left"] == 0
        assert found["uft/same"] < 1e-5
        assert abs(found["uft/without_hint"]) > 0.01


def test_hint_reliance_is_what_hinted_successes_lose_without_their_hint(finished: Path, data: Path) -> None:
    """Step 1 again by Hugging Face: hints in questions and in responses, at the temperature of the rollouts."""
    model = AutoModelForCausalLM.from_pretrained(EMBEDDED, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    asked = {row.prompt[0]["content"] for row in pd.read_parquet(data / "train.parquet").itertuples()}

    def encode(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    def log_probability(before: list[int], ids: list[int]) -> float:
        with torch.no_grad():
            logits = model(torch.tensor([before + ids])).logits[0, len(before) - 1 : -1] / TEMPERATURE
        return float(torch.log_softmax(logits, -1).gather(-1, torch.tensor(ids)[:, None]).sum())

    owed, tokens, rows = 0.0, 0, 0
    for line in rollouts(finished, 1):
        if line["score"] < 0.5 or not line["hint_tokens"] + line.get("prompt_hint_tokens", 0):
            continue
        [bare] = [text for text in asked if line["prompt"].startswith(text.split(" Show your work")[0])]
        ids = encode(line["output"])
        assert len(ids) == line["gen_tokens"]
        owed += log_probability(encode(line["prompt"]) + encode(line["hint"]), ids) - log_probability(encode(bare), ids)
        tokens, rows = tokens + len(ids), rows + 1
    found = metrics(finished)[1]
    assert found["uft/hint_reliance_rows"] == rows > 0
    assert found["uft/hint_reliance"] == pytest.approx(owed / tokens, rel=1e-3)


def test_the_second_update_learns_the_solutions_that_were_due(finished: Path, data: Path) -> None:
    """Step 1: -log pi(solution) per token at the base's weights, which zero advantages have not moved."""
    model = AutoModelForCausalLM.from_pretrained(EMBEDDED, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    seen = {line["prompt"] for line in rollouts(finished, 1)}
    rows = {
        memory_key(prompt_key({"raw_prompt": list(row.prompt), "extra_info": row.extra_info})): row
        for row in pd.read_parquet(data / "train.parquet").itertuples()
        if row.prompt[0]["content"] in seen
    }
    assert len(rows) == 8
    total, tokens = 0.0, 0
    for key in sorted(rows)[:3]:
        prompt = tokenizer(rows[key].prompt[0]["content"], add_special_tokens=False)["input_ids"]
        ids = [*tokenizer(rows[key].answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        with torch.no_grad():
            logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1] / TEMPERATURE
        total -= float(torch.log_softmax(logits, -1).gather(-1, torch.tensor(ids)[:, None]).sum())
        tokens += len(ids)
    first = metrics(finished)[1]
    assert (first["due/rows"], first["due/skipped"]) == (3, 0)
    assert first["due/nll"] == pytest.approx(total / tokens, rel=1e-4)
    assert 0 < first["due/grad_norm"] < 1e4
    assert first["actor/grad_norm"] == 0


def test_the_weights_move_and_the_memory_is_in_the_checkpoint(finished: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(EMBEDDED, dtype=torch.float32).state_dict()
    trained = AutoModelForCausalLM.from_pretrained(finished / "hf/last", dtype=torch.float32).state_dict()
    assert max(float((trained[name] - base[name]).abs().max()) for name in base) > 1e-5
    [memory] = (finished / "checkpoints").glob("global_step_2/memory.json")
    found = json.loads(memory.read_text())
    assert found["common"] == 16
    assert len(found["past"]) == 16
    assert set(found["past"].values()) == {1, 2}
