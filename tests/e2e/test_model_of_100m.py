"""A model of published size (SmolLM2-135M's shape, random weights) through the stages of a first hour: uft and its
resume, grpo with adapters, sft, dpo with adapters, an evaluation of each; and what each publishes, in plain
transformers."""

import json
import shlex
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from data_prep.countdown import generate as countdown
from data_prep.preference.toy import write_toy
from eval.models import has_weights
from recipes.estimate.model_shapes import known_shape
from tests.e2e.read_back import greedy, validated
from tests.e2e.support import SMOLLM2_135M, run, wide_model

pytestmark = [pytest.mark.e2e, pytest.mark.extended]

TOKENS, PROBLEMS = 12, 4
SHORT = f"--prompt_style chat --max_prompt_length 400 --max_response_length {TOKENS} --val_size {PROBLEMS} --seed 3"
RL = f"{SHORT} --batch_size 2 --n_rollout 2 --test_freq 1 --max_parse_fail_rate 1"
RUNS = {
    "uft": f"--algo uft --T 1 --T_hint 1 --lr 1e-4 {RL}",
    "grpo": f"--algo grpo --T 1 --lr 1e-3 --lora_rank 8 {RL}",
    "sft": f"--algo sft --lr 1e-4 --epochs 1 --batch_size 8 {SHORT}",
    "dpo": "--algo dpo --prompt_style chat --lr 1e-4 --epochs .5 --batch_size 2 --micro_batch_size 1 --max_length 256 "
    "--lora_rank 8 --seed 3",
}
RESUMED = "--algo uft --T 2 --T_hint 1 --lr 1e-4 " + RL


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = wide_model(tmp_path_factory.mktemp("models") / "wide", **SMOLLM2_135M)
    shape = known_shape(str(folder))
    assert shape is not None
    assert shape.parameters > 100e6
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """problems/ and answers/, a few of each."""
    folder = tmp_path_factory.mktemp("data")
    countdown.prepare(folder / "problems", n_train=16, n_test=8, seed=0, max_number=30, operators="+-*")
    write_toy(folder / "answers", n_train=8, n_test=4, seed=1)
    return folder


@pytest.fixture(scope="module", params=RUNS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, model: Path, data: Path) -> Path:
    out = tmp_path_factory.mktemp("runs") / request.param
    rows = data / ("answers" if request.param == "dpo" else "problems")
    run(out, *shlex.split(RUNS[request.param]), "--model", str(model), "--data", str(rows))
    if request.param == "uft":
        run(out, *shlex.split(RESUMED), "--model", str(model), "--data", str(rows), "--resume")
        assert json.loads((out / "summary.json").read_text(encoding="utf-8"))["last step"] == 2
    return out


def test_what_is_published_answers_in_plain_transformers_as_in_the_evaluation(
    trained: Path, model: Path, data: Path
) -> None:
    weights = AutoModelForCausalLM.from_pretrained(trained / "hf/last")
    assert weights.dtype == torch.float32
    tokenizer = AutoTokenizer.from_pretrained(trained / "hf/last")
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(model).chat_template
    evaluated = trained.parent / "eval"
    asked = ("--model", str(trained), "--data", str(data / "problems"), *shlex.split(SHORT))
    run(evaluated, "--eval", *asked)
    lines = next(evaluated.rglob("items.jsonl")).read_text(encoding="utf-8").splitlines()
    found = sorted((item["input"], item["output"]) for item in map(json.loads, lines))
    assert len(found) == PROBLEMS
    assert [(prompt, greedy(weights, tokenizer, prompt, TOKENS)) for prompt, _ in found] == found
    if (trained / "validation").is_dir():
        assert found == validated(trained)


def test_the_training_changed_the_weights(trained: Path, model: Path) -> None:
    before = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).state_dict()
    after = AutoModelForCausalLM.from_pretrained(trained / "hf/last").state_dict()
    assert before.keys() == after.keys()
    assert any(not torch.equal(value, before[name]) for name, value in after.items())
    assert has_weights(trained / "hf/last")
    assert (trained / "hf/adapter/adapter_config.json").exists() == ("--lora_rank" in RUNS[trained.name])
