"""A model like published ones (a vocabulary of 49,152 words, a chat template, bfloat16 in its config.json) through
reinforcement, with all weights and with adapters, where a newcomer's machine is odd; and what it publishes, read back
by plain transformers."""

import json
import shlex
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from recipes.common.training_record import TRAINING_RECORD
from tests.e2e.read_back import answers, validated
from tests.e2e.support import ROOT, metrics, rollouts, run, wide_model

pytestmark = pytest.mark.e2e

TOKENS = 12
SHORT = shlex.split(
    f"--prompt_style chat --batch_size 4 --max_prompt_length 400 --max_response_length {TOKENS} --val_size 5 --seed 3 "
    "--max_parse_fail_rate 1 --log_rollouts -1"
)
UFT = [*shlex.split("--algo uft --T 2 --T_hint 2 --test_freq 2 --n_rollout 2 --lr 1e-3"), *SHORT]
GRPO = [*shlex.split("--algo grpo --T 1 --n_rollout 4 --lr 1e-2 --lora_rank 4 --max_reward_error_rate 1"), *SHORT]

# Scores by the last digit, so that groups differ; cannot judge some answers, and says so.
REWARD = """
GRADED = True

def reward(response: str, answer: str) -> float:
    digits = [c for c in response if c.isdigit()]
    if "<answer>" not in response and digits and digits[-1] in "01":
        raise RuntimeError("no verdict")
    return 0.5 if digits and int(digits[-1]) % 2 else 0.25
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wide_model(tmp_path_factory.mktemp("models") / "wide")


@pytest.fixture(scope="module")
def uft(tmp_path_factory: pytest.TempPathFactory, model: Path, small_data: Path) -> Path:
    """All weights, from another working folder, with a long TMPDIR, and no device as people say it."""
    home = tmp_path_factory.mktemp("uft")
    temporary = home / "a-temporary-folder-with-a-name-of-a-job-of-slurm"
    temporary.mkdir()
    odd = {"CUDA_VISIBLE_DEVICES": "", "TMPDIR": str(temporary)}
    run(home / "run", *UFT, "--model", str(model), "--data", str(small_data), cwd=home, env=odd)
    return home / "run"


@pytest.fixture(scope="module")
def grpo(tmp_path_factory: pytest.TempPathFactory, model: Path, small_data: Path) -> Path:
    """Adapters, with a reward that fails on some answers."""
    home = tmp_path_factory.mktemp("grpo")
    (home / "reward.py").write_text(REWARD, encoding="utf-8")
    reward = ("--reward", f"{home / 'reward.py'}:reward")
    run(home / "run", *GRPO, *reward, "--model", str(model), "--data", str(small_data))
    return home / "run"


@pytest.fixture(params=["uft", "grpo"])
def finished(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


def test_plain_transformers_gives_the_answers_of_the_runs_own_validation(finished: Path) -> None:
    weights = AutoModelForCausalLM.from_pretrained(finished / "hf/last")
    assert weights.dtype == torch.float32
    assert len(validated(finished)) == 5
    assert answers(weights, AutoTokenizer.from_pretrained(finished / "hf/last"), finished, TOKENS) == validated(
        finished
    )


def test_the_tokenizer_and_its_template_stay_the_models_own(finished: Path, model: Path) -> None:
    for part in ("last", "best"):
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
            assert (finished / "hf" / part / name).read_bytes() == (model / name).read_bytes(), name


def test_the_training_changed_the_weights(finished: Path, model: Path) -> None:
    before = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).state_dict()
    after = AutoModelForCausalLM.from_pretrained(finished / "hf/last").state_dict()
    assert before.keys() == after.keys()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert "model.layers.1.mlp.down_proj.weight" in changed


def test_the_adapter_alone_is_the_merged_model(grpo: Path, model: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    adapted = PeftModel.from_pretrained(base, str(grpo / "hf/adapter"))
    assert adapted.peft_config["default"].base_model_name_or_path == str(model)
    assert answers(adapted, AutoTokenizer.from_pretrained(model), grpo, TOKENS) == validated(grpo)


def test_an_evaluation_takes_the_prompts_and_lengths_of_the_training(uft: Path, small_data: Path) -> None:
    record = json.loads((uft / "hf/last" / TRAINING_RECORD).read_text(encoding="utf-8"))
    assert record["prompt_style"] == "chat"
    out = uft.parent / "eval"
    flags = ("--eval", "--model", str(uft), "--data", str(small_data), "--val_size", "5")
    done = run(out, *flags)
    assert f"prompt style: chat (how the model was trained: {uft / 'hf/last' / TRAINING_RECORD})" in done.stdout
    items = [json.loads(line) for line in next(out.rglob("items.jsonl")).read_text(encoding="utf-8").splitlines()]
    assert sorted((item["input"], item["output"]) for item in items) == validated(uft)


def test_answers_without_a_verdict_have_no_vote(grpo: Path) -> None:
    found, rows = metrics(grpo)[1], rollouts(grpo, 1)
    failed = [row for row in rows if row["reward_error"]]
    assert len(rows) == 16
    assert 0 < len(failed) < 8, "the reward was to fail on some answers"
    assert found["reward/reward_error_rate"] == pytest.approx(len(failed) / 16)
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if not row["reward_error"]:
            groups[row["key"].split("_")[0]].append(row)
    judged = [row for group in groups.values() for row in group]
    assert found["critic/score/mean"] == pytest.approx(sum(row["score"] for row in judged) / len(judged))
    # At the first step the ratio is 1, so the policy loss is minus the mean advantage over the tokens that vote.
    total = tokens = 0.0
    for group in groups.values():
        scores = torch.tensor([row["score"] for row in group])
        advantages = torch.zeros(len(group))
        if len(group) > 1 and scores.std() > 0:
            advantages = (scores - scores.mean()) / (scores.std() + 1e-6)
        total += sum(float(a) * row["gen_tokens"] for a, row in zip(advantages, group, strict=True))
        tokens += sum(row["gen_tokens"] for row in group)
    assert found["actor/pg_loss"] == pytest.approx(-total / tokens, abs=2e-5)


def test_a_finished_run_keeps_its_record_when_it_is_resumed(uft: Path, model: Path, small_data: Path) -> None:
    before = json.loads((uft / "summary.json").read_text(encoding="utf-8"))
    assert before["seconds"] > 0
    assert before["peak_memory_bytes"] > 0
    run(uft, *UFT, "--model", str(model), "--data", str(small_data), "--resume")
    assert json.loads((uft / "summary.json").read_text(encoding="utf-8")) == before


def test_a_run_killed_before_it_said_that_it_is_finished_is_finished_by_resume(
    uft: Path, model: Path, small_data: Path, tmp_path: Path
) -> None:
    """As after a kill between the last checkpoint and done.json, and in the middle of publishing the weights."""
    killed = tmp_path / "killed"
    shutil.copytree(uft, killed)
    for name in ("done.json", "summary.json", "hf/last.json", "hf/best.json"):
        (killed / name).unlink()
    shutil.rmtree(killed / "hf/last")
    (killed / "hf/.last.1.old").mkdir()
    done = run(killed, *UFT, "--model", str(model), "--data", str(small_data), "--resume")
    assert "starting Ray" not in done.stdout
    assert (killed / "done.json").exists()
    last = AutoModelForCausalLM.from_pretrained(killed / "hf/last").state_dict()
    expected = AutoModelForCausalLM.from_pretrained(uft / "hf/last").state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in last.items())
    assert json.loads((killed / "hf/best.json").read_text()) == json.loads((uft / "hf/best.json").read_text())
    assert not list((killed / "hf").glob(".last.*"))
    again = json.loads((killed / "summary.json").read_text(encoding="utf-8"))
    assert again == json.loads((uft / "summary.json").read_text(encoding="utf-8"))


def test_the_temporary_folder_of_the_machine_is_left_empty(uft: Path) -> None:
    assert ROOT not in uft.parents
    assert not list(uft.parent.glob("a-temporary-folder*/uft-*"))
