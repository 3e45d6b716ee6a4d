"""The reward of open answers: what says the same, what only shares words, and the F1 beside it."""

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

from reward_fns.free_text import normalise, score, token_f1
from tests.helpers.timing import quickest

LABELS = {(True, True): "correct", (False, True): "wrong", (False, False): "unreadable"}
TRIALS = [
    json.loads(line)
    for line in resources.files("reward_fns.trials").joinpath("free_text.jsonl").read_text("utf-8").splitlines()
]
CAPITAL = {"answers": ["Paris"], "question": "What is the capital of France?"}


def label(response: str, ground_truth: Any) -> str:
    verdict = score(response, ground_truth)
    return LABELS[verdict.correct, verdict.readable]


def test_every_labelled_trial_is_judged_as_its_label_says() -> None:
    assert len(TRIALS) >= 100
    counts = Counter(trial["label"] for trial in TRIALS)
    assert min(counts["correct"], counts["wrong"]) >= 40
    failures = [
        (found, trial["label"], trial["response"], trial["ground_truth"])
        for trial in TRIALS
        if (found := label(trial["response"], trial["ground_truth"])) != trial["label"]
    ]
    assert failures == []


def test_f1_is_that_of_the_words_and_the_best_over_all_answers() -> None:
    assert token_f1("Paris in France", "Paris") == pytest.approx(0.5)
    assert token_f1("the red red dog", "a red cat") == pytest.approx(2 / 5)
    assert token_f1("Rome", "Paris") == 0.0
    verdict = score("<answer>United States</answer>", {"answers": ["USA", "United States of America"]})
    assert verdict.partial == pytest.approx(2 * 2 / (2 + 4))
    assert not verdict.correct


def test_partial_is_no_part_of_the_reward() -> None:
    verdict = score("<answer>Paris or Lyon</answer>", CAPITAL)
    assert verdict.partial > 0.0
    assert verdict.score == 0.1


@given(st.text(max_size=40))
def test_an_answer_says_itself_in_any_case(text: str) -> None:
    text = text.replace("<", " ").replace(">", " ")
    if normalise(text) is None:
        return
    assert score(f"<answer>{text}</answer>", {"answers": [text]}).correct


@given(
    st.sampled_from(["not", "never", "or", "không", "maybe"]), st.sampled_from(["{} Paris", "Paris {}", "{} the Paris"])
)
def test_denials_and_alternatives_are_not_correct(word: str, form: str) -> None:
    assert label(f"<answer>{form.format(word)}</answer>", CAPITAL) == "wrong"
    assert label(f"<answer>{form.format('it is')}</answer>", CAPITAL) == "correct"


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_numbers_must_be_the_same(gold: int, given_number: int) -> None:
    found = label(f"<answer>It is {given_number:,}</answer>", {"answers": [str(gold)]})
    assert found == ("correct" if gold == given_number else "wrong")


def test_a_further_claim_is_allowed_only_beside_a_long_answer() -> None:
    long = {"answers": ["photosynthesis turns sunlight water carbon dioxide into sugar"]}
    assert (
        label("<answer>photosynthesis turns bright sunlight, water, carbon dioxide into sugar</answer>", long)
        == "correct"
    )
    padded = "photosynthesis turns sunlight water carbon dioxide into sugar while cows bark loudly"
    assert label(f"<answer>{padded}</answer>", long) == "wrong"
    assert label("<answer>bright Paris</answer>", CAPITAL) == "wrong"


def test_without_the_question_its_words_are_further_claims() -> None:
    response = "<answer>The capital of France is Paris</answer>"
    assert label(response, CAPITAL) == "correct"
    assert label(response, {"answers": ["Paris"]}) == "wrong"


def test_ground_truths_from_files_are_arrays() -> None:
    truth = {"answers": np.array(["Paris"], dtype=object), "question": None}
    assert label("<answer>Paris</answer>", truth) == "correct"


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (None, "must be {answers: texts}"),
        ("Paris", "must be {answers: texts}"),
        ({"answer": "Paris"}, "'answers' must be a non-empty list, got None"),
        ({"answers": "Paris"}, "'answers' must be a non-empty list, got 'Paris'"),
        ({"answers": []}, "'answers' must be a non-empty list"),
        ({"answers": ["Paris", "?"]}, "texts with words, got '?'"),
        ({"answers": [7]}, "texts with words, got 7"),
        ({"answers": ["Paris"], "question": 7}, "'question' must be text"),
    ],
)
def test_a_malformed_ground_truth_is_an_error(truth: Any, message: str) -> None:
    with pytest.raises(ValueError, match="open-answer ground truth") as raised:
        score("<answer>Paris</answer>", truth)
    assert message in str(raised.value)


def test_no_response_raises_or_takes_long() -> None:
    draw = random.Random(0)
    parts = ["Paris", " ", ", ", " and ", "1,000,", "-", "3.", "\n", "\ud800", "\x00", "C++", "#", "%", "à", "<answer>"]
    parts += ["</answer>", "</think>", "và", "&", ";", "a ", "the "]
    for length in [5, 100, 5000] * 20:
        text = "<answer>" + "".join(draw.choice(parts) for _ in range(length)) + "</answer>"
        assert quickest(partial(score, text, CAPITAL), 2) < 2
    for part in parts:
        assert quickest(partial(score, "<answer>" + part * 20_000 + "</answer>", CAPITAL), 2) < 2
