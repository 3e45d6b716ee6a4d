"""The knights-and-knaves reward: what counts as an answer, what it scores; no response crashes or stalls it."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reward_fns.kk_logic.reader import read_roles
from reward_fns.kk_logic.reward import MOST_PEOPLE, read_ground_truth, score
from reward_fns.kk_logic.words import MAX_CHARS
from reward_fns.trials import Trial
from reward_fns.trials.fuzz_kk_logic import sample
from reward_fns.verdict import Verdict
from tests import ROOT
from tests.helpers.kk_logic_checks import published
from tests.helpers.timing import quickest

NAMES = ("Zoey", "Oliver", "Emma")
TRUTH = {"names": list(NAMES), "solution": [True, False, True]}
TRIALS = [
    Trial(**json.loads(line))
    for line in (ROOT / "reward_fns" / "trials" / "kk_logic.jsonl").read_text("utf-8").splitlines()
]
LABELS = {1.0: "correct", 0.1: "wrong", 0.0: "unreadable"}


def judged(answer: str, truth: Any = TRUTH) -> Verdict:
    return score(f"Assume Zoey is a knight. </think>\n<answer> {answer} </answer>", truth)


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: trial.why)
def test_labelled_answers_get_their_label(trial: Trial) -> None:
    verdict = score(trial.response, trial.ground_truth)
    assert LABELS[verdict.score] == trial.label


def test_there_are_labelled_answers_of_every_kind_and_none_twice() -> None:
    labels = [trial.label for trial in TRIALS]
    assert min(labels.count(label) for label in ("correct", "wrong", "unreadable")) > 50
    assert len({(trial.response, json.dumps(trial.ground_truth)) for trial in TRIALS}) == len(TRIALS)


def test_random_answers_get_the_verdict_they_were_written_for() -> None:
    draw = random.Random(11)
    for _ in range(4_000):
        trial = sample(draw)
        label = LABELS[score(trial.response, trial.ground_truth).score]
        assert trial.label in ("any", label) or (trial.label == "not correct" and label != "correct"), trial


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_published_answer_scores_one_and_no_other_solution_does(split: str) -> None:
    rows = published(split)
    assert len(rows) == {"train": 4_500, "test": 500}[split]
    for row in rows:
        truth = row["reward_model"]["ground_truth"]
        verdict = score(row["answer"], truth)
        assert (verdict.score, verdict.partial) == (1.0, 1.0)
        people = len(truth["names"])
        turned = {**truth, "solution": [not truth["solution"][0], *truth["solution"][1:]]}
        verdict = score(row["answer"], turned)
        assert (verdict.score, verdict.partial) == (0.1, (people - 1) / people)
        assert score(row["answer"][:-1], truth).score == 0.0


@pytest.mark.parametrize(
    ("answer", "partial"),
    [
        ("Zoey is a knight, Oliver is a knave, Emma is a knight", 1.0),
        ("Zoey is a knight, Oliver is a knave, Emma is a knave", 2 / 3),
        ("Everyone is a knave", 1 / 3),
        ("Zoey is a knight", 1 / 3),
        ("Zoey is a knave", 0.0),
        ("Zoey is a knight, Zoey is a knave", 0.0),
        ("no idea", 0.0),
        ("everyone is a knight</answer><answer>everyone is a knave", 0.0),
    ],
)
def test_partial_is_the_share_of_people_named_rightly(answer: str, partial: float) -> None:
    assert judged(answer).partial == pytest.approx(partial)


def test_the_text_read_is_reported() -> None:
    assert judged("Zoey: knight").pred == "Zoey: knight"
    assert judged("everyone is a knight</answer><answer>1").pred == "everyone is a knight | 1"
    assert judged("\ud800").pred == "\\ud800"


PEOPLE = {"zoey": 0, "oliver": 1, "emma": 2, "ann": 3}


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("The knights are Zoey and Oliver, and Emma is a knave", (True, True, False, None)),
        ("The knights are Zoey and Oliver, Emma and Ann are knaves", (True, True, False, False)),
        ("Knights: Zoey, Oliver: knave", (True, False, None, None)),
        ("Zoey, Oliver is a knave", None),
        ("Zoey and Oliver: knight, knave", (True, False, None, None)),
        ("Zoey and Oliver are knights, knaves: Emma", (True, True, False, None)),
        ("Only Zoey is a knight, only Oliver is a knave", None),
        ("Zoey is the only knight, and Emma is a knight", None),
        ("Everyone, except Zoey, is a knight", (False, True, True, True)),
        ("Everyone but Zoey and Ann is a knave", (True, False, False, True)),
        ("None of Zoey, Oliver and Emma is a knight", (False, False, False, None)),
        ("Nobody else is a knave. Ann is a knave.", (True, True, True, False)),
        ("Zoey is a knight, so is Ann, Oliver isn't, Emma is too", None),
        ("Zoey is a knight, so is Ann, Oliver isn't", (True, False, None, True)),
        ("Zoey is a knight, so are Oliver and Emma; Ann isn't", (True, True, True, False)),
        ("Zoey is not a knight. Oliver is not. Emma is a knight", (False, False, True, None)),
        ("Zoey is a knight, not a knave. Oliver isn't.", (True, False, None, None)),
        ("Zoey is not a knight. So is Oliver.", None),
        ("Zoey is a knight, and so are the others", (True, True, True, True)),
        ("Emma is a knight. The answer is: Zoey and Oliver are knaves", (False, False, True, None)),
        ("So is Ann", None),
        ("neither Zoey nor Emma is a knave", (True, None, True, None)),
        ("1. Knight: Zoey 2. Knave: Oliver", (True, False, None, None)),
        ("1. Knight Zoey 2. Knave Oliver", (True, False, None, None)),
        ("knights: Zoey, Ann knaves: the rest", (True, False, False, True)),
        ("Zoey is neither a knight nor a knave", None),
        ("Zoey and Oliver are not both knights", None),
        ("Zoey, Oliver, Emma and Ann are not all knights", None),
        ("Zoey is not the only knight", None),
        ("Zoey can be a knight", None),
        ("We can conclude that Zoey is a knight. On the other hand, Oliver is a knave.", (True, False, None, None)),
        ("There are no knights except Emma", (False, False, True, False)),
        ("The knights are everyone except Zoey", None),
        ("Zoey is a knight and Emma I do not know", None),
        ("Zoey is a knight, Emma I cannot determine", None),
        ("I think Zoey is a knight and we know Emma is a knave", (True, None, False, None)),
        ("Zoey is one of the knights, Emma is the other knight", (True, None, True, None)),
        ("Zoey:\nKnight\nEmma:\nKnave", (True, None, False, None)),
        ("Zoey\nKnight", None),
        ("<b>Zoey</b> is a knight<br>Emma is a knave", (True, None, False, None)),
        ("Zoey, Oliver and Emma are a knight, a knave and a knight, respectively", (True, False, True, None)),
        ("That makes Zoey and Emma knights", (True, None, True, None)),
        ("Zoey and Emma: one knight, one knave", None),
        ("Zoey and Emma are two knights", (True, None, True, None)),
        ("Zoey is no knight, Emma is no knave", (False, None, True, None)),
        (
            "Exactly two are knights: Zoey and Ann. The remaining people, Oliver and Emma, are knaves.",
            (True, False, False, True),
        ),
        ("Zoey2 is a knight", None),
        ("Ann-Marie is a knight", None),
        ("Anns: knight", None),
        ("", (None, None, None, None)),
    ],
)
def test_reading(text: str, roles: tuple[bool | None, ...] | None) -> None:
    assert read_roles(text, PEOPLE) == roles


def test_ground_truth_as_arrays_lists_and_tuples_score_the_same() -> None:
    answer = "Zoey and Emma are knights, Oliver is a knave"
    forms: list[Any] = [
        TRUTH,
        {"names": NAMES, "solution": (True, False, True)},
        {"names": np.array(NAMES, dtype=object), "solution": np.array([True, False, True])},
    ]
    assert [judged(answer, form) for form in forms] == [judged(answer)] * 3
    assert judged(answer).correct


@pytest.mark.parametrize(
    ("truth", "part"),
    [
        (None, "must be {names, solution, ...}"),
        ([1], "must be {names, solution, ...}"),
        ({"names": ["A", "B"]}, "lacks 'solution'"),
        ({"solution": [True]}, "lacks 'names'"),
        ({"names": [], "solution": []}, "'names' must be a list of 1 to"),
        ({"names": "AB", "solution": [True, False]}, "'names' must be a list of 1 to"),
        ({"names": ["A"] * (MOST_PEOPLE + 1), "solution": [True]}, "'names' must be a list of 1 to"),
        ({"names": ["A", "B"], "solution": [True]}, "2 'names' but 1 in 'solution'"),
        ({"names": ["A", "B"], "solution": [True, 0]}, "'solution' must hold true and false, got 0"),
        ({"names": ["A", 7], "solution": [True, True]}, "'names' must be single words of letters, got 7"),
        ({"names": ["A", "Mary Ann"], "solution": [True, True]}, "'names' must be single words of letters"),
        ({"names": ["Ada", "ADA"], "solution": [True, True]}, "'names' holds 'ADA' twice"),
        ({"names": ["A", "Knight"], "solution": [True, True]}, "must not be words of the answer itself, got 'Knight'"),
    ],
)
def test_a_malformed_ground_truth_is_an_error_that_names_the_part(truth: Any, part: str) -> None:
    with pytest.raises(ValueError, match="kk_logic ground truth") as raised:
        read_ground_truth(truth)
    assert part in str(raised.value)
    with pytest.raises(ValueError, match="kk_logic ground truth"):
        judged("A is a knight", truth)


names = st.lists(st.sampled_from(["Ann", "Anna", "Zoë", "Will", "Emma", "Jack", "Jackson"]), min_size=1, unique=True)


@given(names, st.data())
def test_an_assignment_written_line_by_line_is_right_for_itself_alone(people: list[str], data: st.DataObject) -> None:
    roles = data.draw(st.lists(st.booleans(), min_size=len(people), max_size=len(people)))
    solution = data.draw(st.lists(st.booleans(), min_size=len(people), max_size=len(people)))
    order = data.draw(st.permutations(range(len(people))))
    frame = data.draw(st.sampled_from(["{} is a {}", "{}: {}", "{} — {}", "**{}** = `{}`", "({} is a {})"]))
    separator = data.draw(st.sampled_from(["\n", ", ", "; ", " and ", ".\n- ", "\r\n"]))
    text = separator.join(frame.format(people[i], "knight" if roles[i] else "knave") for i in order)
    verdict = judged(text, {"names": people, "solution": solution})
    assert verdict.score == (1.0 if roles == solution else 0.1)
    right = sum(a == b for a, b in zip(roles, solution, strict=True))
    assert verdict.partial == pytest.approx(right / len(people))


WORDS = (
    "Zoey Oliver Emma knight knave knights: knaves: is are not a the and , . ; : - -> \n ( ) [] everyone except only "
    "but rest none nobody both neither nor so too else because 1. (2) 's isn't truth-teller ? if maybe"
)
words = st.sampled_from(WORDS.split(" "))


@settings(max_examples=400)
@given(st.lists(words, max_size=40).map(" ".join))
def test_no_mixture_of_words_raises(text: str) -> None:
    verdict = judged(text)
    assert 0.0 <= verdict.partial <= 1.0
    assert not verdict.correct or verdict.partial == 1.0


@settings(max_examples=300)
@given(st.text())
def test_no_text_raises(text: str) -> None:
    score(text, TRUTH)
    assert not judged(text).correct


MILLION = 1_000_000
ADVERSARIAL = {
    "long": "<answer>" + "Zoey is a knight, " * (MILLION // 18) + "</answer>",
    "nul": "\x00" * MILLION + "<answer>\x00</answer>",
    "bidi": "<answer>" + "\u202e\u2066" * (MILLION // 2) + "</answer>",
    "emoji": "\U0001f5e1" * MILLION,
    "full-width": "<answer>" + "Ｚｏｅｙ" * (MILLION // 4) + "</answer>",
    "unclosed tags": "<answer>" * 100_000,
    "unopened tags": "</answer>" * 100_000,
    "empty blocks": "<answer></answer>" * 50_000,
    "different blocks": "".join(f"<answer>{i}</answer>" for i in range(50_000)),
    "long different blocks": "".join(f"<answer>{'Zoey, Emma: ' * 330}{i}</answer>" for i in range(250)),
    "ligatures": "<answer>" + "\ufdfa" * MAX_CHARS + "</answer>",
    **{
        f"many {piece!r}": "<answer>" + (piece * MAX_CHARS)[:MAX_CHARS] + "</answer>"
        for piece in (
            "a's",
            "'s",
            "a-",
            "-",
            "[",
            "{ }",
            "Zoey ",
            "Zoey, ",
            "knight ",
            "knights: ",
            "knight Zoey ",
            "everyone except ",
            "everyone except Zoey ",
            "only ",
            "not ",
            "is ",
            "the rest ",
            "knight\n",
            "knight, Zoey ",
            "so is ",
            "because x,",
            "x,",
            "\\",
            "1",
            " ",
        )
    },
}


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_no_response_takes_long(name: str) -> None:
    assert quickest(lambda: score(ADVERSARIAL[name], TRUTH), 0.2) < 0.2
    assert not score(ADVERSARIAL[name], TRUTH).correct


def test_typical_responses_are_scored_by_the_thousand_per_second() -> None:
    response = (
        "Therefore, ... </think>\n<answer> (1) Zoey is a knight\n(2) Oliver is a knave\n(3) Emma is a knight </answer>"
    )
    # Measured at over 30,000 a second; the bound leaves room for a busy machine.
    assert quickest(lambda: [score(response, TRUTH) for _ in range(2_000)], 0.4) < 0.4
