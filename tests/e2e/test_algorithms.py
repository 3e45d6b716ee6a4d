"""Every reinforcement algorithm through real Ray, FSDP2 and vLLM; first-step figures against independent computations.

At the first step the policy is the base model, so that the log-likelihood of the hint, the policy loss and the whole
loss can be computed from the logged rollouts with Hugging Face and a pocket calculator.
"""

import json
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from recipes.algorithms import get_algorithm
from recipes.algorithms.hints.cut import as_record, draw_plans, hint_given
from tests.e2e.support import EMBEDDED, HINTS, MEASURED, RL, SEED, T_HINT, metrics, rollouts, run

pytestmark = pytest.mark.e2e

ONLY_THEIR_SCHEDULE = [pytest.param(name, marks=pytest.mark.extended) for name in ("stage", "r3")]
"""They differ from uft in the draw of a hint alone, which has golden tests."""


@pytest.fixture(scope="module", params=[*ONLY_THEIR_SCHEDULE, "rft", "uft"])
def finished(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, small_data: Path, serve: dict[str, str]
) -> tuple[str, Path]:
    """Name and folder of a finished run of five steps (six for uft, whose run other tests use too)."""
    if request.param == "uft":
        return "uft", request.getfixturevalue("uft_run")
    out = tmp_path_factory.mktemp(request.param) / "run"
    hints = HINTS if request.param == "stage" else ()
    how = MEASURED if request.param == "rft" else RL
    run(out, "--algo", request.param, "--data", str(small_data), "--T", "5", *how, *hints, env=serve)
    return request.param, out


@pytest.fixture(scope="module")
def rows(small_data: Path) -> dict[str, Any]:
    frame = pd.read_parquet(small_data / "train.parquet")
    return {row.prompt[0]["content"]: row for row in frame.itertuples()}


def test_records_and_weights_are_where_they_belong(finished: tuple[str, Path]) -> None:
    algo, out = finished
    found = metrics(out)
    assert sorted(found) == list(range(7 if algo == "uft" else 6))
    assert {"val/acc", "val/acc/countdown"} <= found[0].keys() & found[2].keys()
    assert 0 <= found[2]["val/acc"] <= 1
    assert found[1]["reward/reward_error_rate"] == 0
    for part in ("last", "best"):
        AutoModelForCausalLM.from_pretrained(out / "hf" / part)
        AutoTokenizer.from_pretrained(out / "hf" / part)
    assert (out / "validation/0.jsonl").exists()
    if algo == "rft":
        validated = (out / "validation/0.jsonl").read_text().splitlines()
        greedy = (out / "validation/greedy/0.jsonl").read_text().splitlines()
        assert len(validated) == 2 * len(greedy)
        right = [json.loads(line)["acc"] for line in greedy]
        assert found[0]["val/greedy"] == found[0]["val/greedy/countdown"] == pytest.approx(sum(right) / len(right))
        assert found[0]["val/answers"] == len(validated)
        assert {"val/pass@2", "val/greedy"} <= found[5].keys() | found[4].keys()
        assert found[5]["val/forgetting"] == json.loads((out / "eval/own_texts/results.json").read_text())["nats"] != 0
    told = [step for step in found if "uft/hint_reliance" in found[step]]
    assert {*told} <= {2, 4, 5, 6}, "where it is validated"
    assert bool(told) == get_algorithm(algo).uses_hints
    summary = json.loads((out / "summary.json").read_text())
    assert summary["tokens generated"] == sum(row.get("uft/generated", 0) for row in found.values()) > 0
    assert summary["tokens trained"] > summary["tokens generated"]
    card = (out / "hf/last/README.md").read_text()
    assert f"| accuracy | {summary['val/acc before']:.1%} before, {summary['val/acc last']:.1%} after |" in card
    assert list((out / "tensorboard").iterdir())


def test_hints_are_those_the_schedule_draws(finished: tuple[str, Path], rows: dict[str, Any]) -> None:
    algo, out = finished
    algorithm, s = get_algorithm(algo), SimpleNamespace(T_hint=T_HINT)
    for step in (1, 2):
        lines = rollouts(out, step)
        assert len(lines) == 8 * 4
        for line in lines:
            row = rows[line["prompt"]]
            if not algorithm.uses_hints:
                assert (line["hint"], line["length"]) == ("", 0)
                continue
            key = f"{row.extra_info['index']}|{line['prompt']}"
            drawn = draw_plans(algorithm, row.hint, s, step=step, seed=SEED, key=key, past=None, common=None)
            plan = as_record(drawn[0], len(row.hint))
            assert line["length"] == plan["length"]
            assert row.answer.startswith(line["hint"])
            assert len(line["hint"]) >= len("".join(row.hint[: plan["pieces"]])) - 2
    lengths = {line["length"] for step in (1, 2) for line in rollouts(out, step)}
    assert (lengths != {0}) == algorithm.uses_hints


def test_rollouts_of_a_prompt_share_the_hint_and_differ_in_the_answer(finished: tuple[str, Path]) -> None:
    groups = defaultdict(list)
    for line in rollouts(finished[1], 1):
        groups[line["prompt"]].append(line)
    assert all(len({line["hint"] for line in group}) == 1 for group in groups.values())
    unhinted = [group for group in groups.values() if group[0]["length"] == 0]
    assert not unhinted or any(len({line["output"] for line in group}) > 1 for group in unhinted)


def test_hint_nll_is_that_of_a_plain_forward_pass(finished: tuple[str, Path], rows: dict[str, Any]) -> None:
    _, out = finished
    model = AutoModelForCausalLM.from_pretrained(EMBEDDED, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)

    def encode(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    total, count = 0.0, 0
    for line in rollouts(out, 1):
        if not line["hint_tokens"]:
            continue
        row = rows[line["prompt"]]
        hint, _ = hint_given(
            encode, list(row.hint), round(line["length"] / line["n_segments"] * len(row.hint)), row.answer, 64
        )
        assert len(hint) == line["hint_tokens"]
        prompt = encode(line["prompt"])
        with torch.no_grad():
            logits = model(torch.tensor([prompt + hint])).logits[0, len(prompt) - 1 : -1]
        total -= torch.log_softmax(logits, -1).gather(-1, torch.tensor(hint)[:, None]).sum().item()
        count += len(hint)
    found = metrics(out)[1].get("actor/hint_nll")
    # Without a hint there is nothing to take the mean of.
    assert found == (pytest.approx(total / count, rel=1e-4) if count else None)


def test_policy_loss_is_minus_the_mean_advantage_of_generated_tokens(finished: tuple[str, Path]) -> None:
    groups = defaultdict(list)
    for line in rollouts(finished[1], 1):
        groups[line["prompt"]].append(line)
    weighted, tokens = 0.0, 0
    for group in groups.values():
        scores = [line["score"] for line in group]
        mean = sum(scores) / len(scores)
        std = (sum((score - mean) ** 2 for score in scores) / (len(scores) - 1)) ** 0.5
        for line, score in zip(group, scores, strict=True):
            weighted += (score - mean) / (std + 1e-6) * line["gen_tokens"]
            tokens += line["gen_tokens"]
    assert metrics(finished[1])[1]["actor/pg_loss"] == pytest.approx(-weighted / tokens, abs=2e-5)


def test_the_loss_is_the_sum_of_its_terms(finished: tuple[str, Path]) -> None:
    algo, out = finished
    step = metrics(out)[1]
    assert step["actor/kl_loss"] == pytest.approx(0.0, abs=1e-6)
    hint = get_algorithm(algo).settings.get("sft_loss_coef", 0.0) * step.get("actor/hint_nll", 0.0)
    expected = step["actor/pg_loss"] - 0.001 * step["actor/entropy_loss"] + 0.001 * step["actor/kl_loss"] + hint
    assert step["actor/loss"] == pytest.approx(expected, abs=1e-5)


def test_trainer_and_engine_agree_on_probabilities(finished: tuple[str, Path]) -> None:
    """The canary of the weight sync: after an update the engine samples from the weights that were trained."""
    for step in (1, 2):
        assert metrics(finished[1])[step]["training/rollout_probs_diff_max"] < 1e-3


def test_evaluating_the_weights_gives_the_accuracy_validation_gave(
    uft_run: Path, small_data: Path, tmp_path: Path
) -> None:
    """`--eval` on the run's folder: the same problems, prompts, engine and reward; greedy, so the same answers."""
    evaluated = run(tmp_path / "eval", "--eval", "--model", str(uft_run), "--data", str(small_data))
    assert "accuracy" in evaluated.stdout
    last = json.loads((uft_run / "hf/last.json").read_text())["step"]
    assert f"weights: {(uft_run / 'hf/last').resolve()} (the last, step {last}" in evaluated.stdout
    items = [json.loads(line) for line in (tmp_path / "eval/countdown/items.jsonl").read_text().splitlines()]
    validated = [json.loads(line) for line in (uft_run / f"validation/{last}.jsonl").read_text().splitlines()]
    assert sum(item["acc"] for item in items) / len(items) == pytest.approx(metrics(uft_run)[last]["val/acc"])
    assert {item["input"]: item["score"] for item in items} == {line["input"]: line["score"] for line in validated}
