"""The countdown reward against labelled answers and against random ones whose verdict is known beforehand."""

from __future__ import annotations

import random
import re
from collections import Counter
from fractions import Fraction

import pytest

from reward_fns.trials import Trial
from reward_fns.trials.fuzz_countdown import sample
from reward_fns.trials.fuzz_countdown_writing import ASCII, Notation, draw_tree, value_of, written
from reward_fns.trials.selftest import agrees, judged, labelled

TRIALS = labelled("countdown")
# Answers that other checkers of this task judge wrongly; numbers 2, 3, 4 and target 24 unless it says otherwise.
KNOWN_FAULTS = {
    "<answer>2*3*4</answer>": "correct",
    "<answer>2*3*4</answer>\n": "correct",
    "<answer>\n2*3*4\n</answer>": "correct",
    "<answer>2*3*4 = 24</answer>": "correct",
    "<answer>2 \\times 3 \\times 4</answer>": "correct",
    "<answer>2 × 3 × 4</answer>": "correct",
    "<answer>3**2-1</answer>": "not correct",
    "<answer>1.2*5</answer>": "not correct",
    "<answer>(4-.5)*2</answer>": "not correct",
    "<answer>98**87**9</answer>": "not correct",
}


def identified(trial: Trial) -> str:
    return f"{trial.label}: {trial.why}"


@pytest.mark.parametrize("trial", TRIALS, ids=identified)
def test_labelled_answers_are_judged_as_a_person_would(trial: Trial) -> None:
    verdict = judged("countdown", trial)
    assert agrees(verdict, trial.label), f"{verdict}: {trial.response[-200:]!r}"


def test_the_labelled_answers_are_many_different_and_of_all_kinds() -> None:
    assert len(TRIALS) >= 220
    assert len({(trial.response, str(trial.ground_truth)) for trial in TRIALS}) == len(TRIALS)
    shares = {label: count / len(TRIALS) for label, count in Counter(trial.label for trial in TRIALS).items()}
    assert 0.40 < shares["correct"] < 0.50
    assert 0.28 < shares["wrong"] < 0.40
    assert 0.15 < shares["unreadable"] < 0.27
    assert sum(len(trial.response) > 100 for trial in TRIALS) > 40
    labels = {trial.response: trial.label for trial in TRIALS}
    assert {response: labels.get(response) for response in KNOWN_FAULTS} == KNOWN_FAULTS


def test_random_answers_get_the_verdict_they_were_made_for() -> None:
    draw = random.Random("countdown trials")
    for number in range(4_000):
        trial = sample(draw)
        verdict = judged("countdown", trial)
        assert agrees(verdict, trial.label), f"trial {number}, {trial.why}: {verdict}: {trial.response[:300]!r}"


def test_random_answers_repeat_and_hold_every_label_and_every_trick() -> None:
    first, second = random.Random(5), random.Random(5)
    trials = [sample(first) for _ in range(6_000)]
    assert trials == [sample(second) for _ in range(6_000)]
    labels = Counter(trial.label for trial in trials)
    assert min(labels[label] for label in ("correct", "wrong")) > 2_000
    assert set(labels) == {"correct", "wrong", "unreadable", "not correct", "any"}
    assert len({trial.why for trial in trials}) > 15
    everything = "".join(trial.response for trial in trials)
    for trick in ("\0", "\u202e", "**", "//", "\\frac", "\\times", "×", "５", "（", "\\boxed", "= "):
        assert trick in everything
    longest = max(len(sample(first).response) for _ in range(6_000))
    assert longest > 100_000


def test_expressions_are_written_with_the_brackets_they_need() -> None:
    # Python reads + - * / and brackets as the task does; the numbers are replaced by exact ones.
    draw = random.Random(3)
    divided_by_zero = 0
    for _ in range(1_500):
        tree = draw_tree(draw, [draw.randint(0, 5) for _ in range(draw.randint(2, 6))])
        text = written(draw, tree, Notation(ASCII, redundant=0.2))
        try:
            value = eval(re.sub(r"[0-9]+", r"F(\g<0>)", text), {"F": Fraction})
        except ZeroDivisionError:
            value = None
            divided_by_zero += 1
        assert value_of(tree) == value, text
    assert 0 < divided_by_zero < 1_000
