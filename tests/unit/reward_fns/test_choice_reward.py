"""The multiple-choice reward: which texts name a letter, which hedge, and which only look as if they did."""

from __future__ import annotations

import json
import random
from collections import Counter
from functools import partial
from importlib import resources
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_fns.choice import read_choice, score
from tests.helpers.timing import quickest

LABELS = {(True, True): "correct", (False, True): "wrong", (False, False): "unreadable"}
TRIALS = [
    json.loads(line)
    for line in resources.files("reward_fns.trials").joinpath("choice.jsonl").read_text("utf-8").splitlines()
]


def label(response: str, ground_truth: Any) -> str:
    verdict = score(response, ground_truth)
    return LABELS[verdict.correct, verdict.readable]


def test_every_labelled_trial_is_judged_as_its_label_says() -> None:
    assert len(TRIALS) >= 100
    assert {name for name, count in Counter(trial["label"] for trial in TRIALS).items() if count >= 20} == {
        "correct",
        "wrong",
        "unreadable",
    }
    failures = [
        (found, trial["label"], trial["response"])
        for trial in TRIALS
        if (found := label(trial["response"], trial["ground_truth"])) != trial["label"]
    ]
    assert failures == []


@pytest.mark.parametrize("letter", "ABCD")
@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "({})",
        "{}. x",
        "Đáp án {}",
        "Answer: {}",
        "the answer is {}",
        "\\boxed{{{}}}",
        "**{}**",
        "Chọn {}.",
        "{}, vì thế",
        "The answer is ({}) x. Others fail.",
    ],
)
def test_no_letter_is_preferred(form: str, letter: str) -> None:
    assert read_choice(form.format(letter)) == letter


@pytest.mark.parametrize(
    "text", ["A cat", "a cat", "I saw a dog", "A là một chữ cái", "câu hỏi", "Đáp án a priori", "Answer: c est la vie"]
)
def test_prose_is_no_letter(text: str) -> None:
    assert read_choice(text) is None


@given(st.lists(st.text(alphabet="deghklmnpqrstuxyđêôơư", min_size=4, max_size=8), min_size=1, max_size=6))
def test_an_article_before_any_words_is_no_letter(words: list[str]) -> None:
    assert read_choice(" ".join(["A", *words])) is None
    assert read_choice(" ".join(["the answer is a", *words])) is None


@given(st.permutations("ABCD"), st.integers(2, 4), st.sampled_from([", ", " or ", " hoặc ", "/", " and ", "\n", " "]))
def test_several_letters_are_never_one(letters: list[str], count: int, joiner: str) -> None:
    named = letters[:count]
    assert read_choice(joiner.join(named)) == "/".join(sorted(named))
    for gold in "ABCD":
        assert label(f"<answer>{joiner.join(named)}</answer>", {"choice": gold}) == "wrong"


def test_an_unreadable_answer_is_never_a_default_letter() -> None:
    for response in ("", "<answer></answer>", "I am not sure", "<answer>A. B. C. or D.</answer>", "A. Paris\nB. Rome"):
        assert not any(score(response, {"choice": letter}).correct for letter in "ABCD")


def test_options_set_the_letters_and_may_be_named_by_their_text() -> None:
    truth = {"choice": "E", "options": np.array(["one", "two", "three", "four", "Five!"], dtype=object)}
    assert label("<answer>five!</answer>", truth) == "correct"
    assert label("<answer>E</answer>", truth) == "correct"
    assert label("<answer>E. four</answer>", truth) == "wrong"
    assert label("<answer>E</answer>", {"choice": "A"}) == "unreadable"
    assert label("<answer>same</answer>", {"choice": "A", "options": ["same", "same"]}) == "unreadable"


def test_ground_truths_from_files_carry_further_keys() -> None:
    truth = {"choice": "B", "options": None, "subject": "Physics", "exam": "MET_Phy_IE_2019"}
    assert label("<answer>B</answer>", truth) == "correct"


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (None, "must be {choice: letter}, got None"),
        ("B", "must be {choice: letter}, got 'B'"),
        ({"answer": "B"}, "must be {choice: letter}"),
        ({"choice": ""}, "a letter of ABCD, got ''"),
        ({"choice": "AB"}, "a letter of ABCD, got 'AB'"),
        ({"choice": "b"}, "a letter of ABCD, got 'b'"),
        ({"choice": "E"}, "a letter of ABCD, got 'E'"),
        ({"choice": "C", "options": ["x", "y"]}, "a letter of AB, got 'C'"),
        ({"choice": "A", "options": "xy"}, "'options' must be a list of texts"),
        ({"choice": "A", "options": [1, 2]}, "'options' must be a list of texts"),
    ],
)
def test_a_malformed_ground_truth_is_an_error(truth: Any, message: str) -> None:
    with pytest.raises(ValueError, match="multiple-choice ground truth") as raised:
        score("<answer>B</answer>", truth)
    assert message in str(raised.value)


def test_no_response_raises_or_takes_long() -> None:
    draw = random.Random(0)
    parts = ["A", "(B)", " ", "\n", ", ", "or ", "the answer is ", "final ", "đáp án ", "đúng ", "là ", "\\boxed{", "}"]
    parts += ["**", "$", "A. x", "is ", "chọn ", "[", "(", "\ud800", "\x00", "<answer>", "</answer>", "</think>"]
    for length in [5, 50, 1000] * 60:
        text = "<answer>" + "".join(draw.choice(parts) for _ in range(length)) + "</answer>"
        assert quickest(partial(score, text, {"choice": "A"}), 2) < 2
    for pair in [(a, b) for a in parts for b in parts]:
        score("<answer>A" + "".join(pair) * 300 + "!</answer>", {"choice": "A"})


def test_the_text_read_is_reported() -> None:
    assert score("<answer> Đáp án B </answer>", {"choice": "B"}).pred == "Đáp án B"
