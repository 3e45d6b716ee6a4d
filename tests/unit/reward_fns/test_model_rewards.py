"""Rewards that ask a model: the question reaches them, and the examples' judge and reward model say what theirs say."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data_prep.countdown.generate import prompt
from data_prep.prompt_styles import STYLES, Question, question_text
from reward_fns import compute_score, custom, is_graded
from reward_fns.custom import CustomRewardError, score
from tests import ROOT
from tests.helpers.judge_server import Reply, Server

EXAMPLES = ROOT / "examples/custom"
EMBEDDED = ROOT / "models/tiny-countdown"


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("response, answer, asked", 1.0),
        ("response, answer, question=''", 1.0),
        ("response, answer, asked=''", 0.0),
        ("response, answer, *, question=''", 1.0),
    ],
)
def test_the_question_goes_to_functions_that_want_it(tmp_path: Path, parameters: str, expected: float) -> None:
    name = parameters.rpartition(", ")[2].removesuffix("=''")
    (tmp_path / "mine.py").write_text(f"def reward({parameters}):\n    return float({name} == 'why?')\n")
    assert score(f"{tmp_path / 'mine.py'}:reward", "r", "a", "why?").score == expected


def test_the_question_travels_as_verl_hands_it_over(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def reward(response, answer, asked):\n    return float(asked == 'why?')\n")
    spec = f"{tmp_path / 'mine.py'}:reward"
    assert compute_score("mine", "r", {"target": "a"}, {"question": "why?", "num_turns": 2}, reward=spec)["acc"] == 1.0
    assert compute_score("mine", "r", {"target": "a"}, None, reward=spec)["acc"] == 0.0
    assert not is_graded(spec)
    assert not is_graded("math")
    assert not is_graded(None)


def test_the_question_is_told_from_the_frame_of_the_completion_style() -> None:
    framed = prompt([1, 2, 3], 6)
    asked = question_text([{"role": "user", "content": framed}])
    assert asked in framed
    assert "[1, 2, 3]" in asked
    assert "A conversation between" not in asked
    assert question_text([{"role": "system", "content": "s"}, {"role": "user", "content": "why?"}]) == "why?"


@given(st.sampled_from(list(STYLES)), st.text(), st.text(st.characters(exclude_characters="\n")))
def test_the_question_is_told_from_the_frame_of_every_style(style: str, asked: str, example: str) -> None:
    assert question_text(STYLES[style].messages(Question(asked, example))) == asked


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Server]]:
    """The example's judge, asking an endpoint that likes answers with 42 and refuses to judge those with 13."""

    def answer(body: dict[str, Any], _: int) -> Reply:
        response = body["messages"][-1]["content"].partition("<response>")[2]
        if "13" in response:
            return 200, "I would rather not say."
        return 200, '{"correct": true}' if "42" in response else '{"correct": false}'

    server = Server(answer)
    monkeypatch.setenv("JUDGE_ENDPOINT", server.endpoint)
    monkeypatch.setenv("JUDGE_MODEL", "judge-1")
    # A copy of its own: a loaded file keeps its client.
    yield f"{shutil.copy(EXAMPLES / 'judge_reward.py', tmp_path)}:reward", server
    server.close()


def test_a_judge_is_told_question_reference_and_answer(judge: tuple[str, Server]) -> None:
    spec, server = judge
    assert score(spec, "It is 42.", {"target": "42"}, "What is it?").score == 1.0
    assert score(spec, "It is 41.", {"target": "42"}, "What is it?").score == 0.0
    asked = server.bodies[0]["messages"][-1]["content"]
    assert "<question>\nWhat is it?\n</question>" in asked
    assert '<reference>\n"42"\n</reference>' in asked
    assert (server.bodies[0]["model"], server.bodies[0]["temperature"]) == ("judge-1", 0.0)


def test_a_judge_without_a_verdict_is_a_failure_and_no_zero(judge: tuple[str, Server]) -> None:
    with pytest.raises(CustomRewardError, match="not a verdict: 'I would rather not say"):
        score(judge[0], "It is 13.", {"target": "42"}, "What is it?")


@pytest.mark.parametrize(
    ("file", "missing"), [("judge_reward.py", "JUDGE_ENDPOINT"), ("reward_model.py", "REWARD_MODEL")]
)
def test_a_variable_that_is_missing_is_named(
    file: str, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_MODEL", "judge-1")
    monkeypatch.delenv(missing, raising=False)
    spec = f"{shutil.copy(EXAMPLES / file, tmp_path)}:reward"
    with pytest.raises(CustomRewardError, match=f"{missing} is not set; give it before the command, such as"):
        score(spec, "It is 42.", {"target": "42"}, "What is it?")


def test_a_reward_model_gives_the_sigmoid_of_its_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoConfig, AutoTokenizer, LlamaForSequenceClassification

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    tokenizer.chat_template = None
    config = AutoConfig.from_pretrained(EMBEDDED)
    config.num_labels = 1
    model = LlamaForSequenceClassification(config).eval()
    torch.nn.init.normal_(model.score.weight, std=0.5)
    model.save_pretrained(tmp_path / "rm")
    tokenizer.save_pretrained(tmp_path / "rm")
    monkeypatch.setenv("REWARD_MODEL", str(tmp_path / "rm"))
    spec = f"{shutil.copy(EXAMPLES / 'reward_model.py', tmp_path)}:reward"
    found = [score(spec, response, "", "1 + 2") for response in ("3", "1 + 2 = 3")]
    for verdict, text in zip(found, ("1 + 2\n3", "1 + 2\n1 + 2 = 3"), strict=True):
        with torch.no_grad():
            logit = model(tokenizer(text, return_tensors="pt")["input_ids"]).logits[0, 0]
        assert verdict.score == pytest.approx(torch.sigmoid(logit).item(), abs=1e-5)
        assert 0.0 < verdict.score < 1.0
    assert found[0].score != found[1].score
    # In this process: a worker of the pool may be older than REWARD_MODEL.
    assert custom.is_graded(spec)
