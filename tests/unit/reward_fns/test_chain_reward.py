"""The chain reward: labelled answers, random ones whose verdict is known beforehand, hostile ones; never slow."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reward_fns import compute_score
from reward_fns.trials import Trial
from reward_fns.trials.fuzz_chain import sample
from reward_fns.trials.selftest import agrees, judged, labelled
from tests.helpers.timing import quickest

TRIALS = labelled("chain")
TRUTH = {"start": 2, "solution": [1, 2, 0]}


def score(response: str, truth: object = TRUTH) -> dict[str, float | str]:
    found = compute_score("chain", response, truth)
    assert found["format"] == 1.0 - float(found["parse_fail"])
    return found


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: f"{trial.label}: {trial.why}")
def test_labelled_answers_are_judged_as_a_person_would(trial: Trial) -> None:
    verdict = judged("chain", trial)
    assert agrees(verdict, trial.label), f"{verdict}: {trial.response[-200:]!r}"


def test_the_labelled_answers_are_many_different_and_of_all_kinds() -> None:
    assert len(TRIALS) >= 130
    assert len({(trial.response, str(trial.ground_truth)) for trial in TRIALS}) == len(TRIALS)
    counts = Counter(trial.label for trial in TRIALS)
    assert min(counts[label] for label in ("correct", "wrong", "unreadable")) >= 25


def test_random_answers_get_the_verdict_they_were_made_for() -> None:
    draw = random.Random("chain trials")
    seen: Counter[str] = Counter()
    for number in range(3_000):
        trial = sample(draw)
        seen[trial.label] += 1
        verdict = judged("chain", trial)
        assert agrees(verdict, trial.label), f"trial {number}, {trial.why}: {verdict}: {trial.response[:300]!r}"
    assert min(seen[label] for label in ("correct", "wrong", "unreadable", "any")) > 200


def test_random_answers_repeat() -> None:
    first, second = random.Random(5), random.Random(5)
    assert [sample(first) for _ in range(300)] == [sample(second) for _ in range(300)]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=30), st.lists(st.integers(0, 12), min_size=1, max_size=30))
def test_a_list_scores_one_exactly_if_it_is_the_solution(solution: list[int], said: list[int]) -> None:
    truth = {"start": 0, "solution": solution}
    for answer in (
        ", ".join(map(str, said)),
        " ".join(f"({number}) {state}" for number, state in enumerate(said, start=1)),
        "\n".join(f"state {number}: {state}" for number, state in enumerate([0, *said])),
    ):
        found = score(f"</think>\n<answer> {answer} </answer>", truth)
        assert found["score"] == (1.0 if said == solution else 0.1)
        right = sum(a == b for a, b in zip(solution, said, strict=False))
        assert found["partial"] == pytest.approx(right / max(len(solution), len(said)))


@given(st.integers(0, 12), st.text(alphabet="0123 ,;()[].:-\n", max_size=3))
def test_a_mutated_answer_scores_one_only_if_its_numbers_stay(at: int, instead: str) -> None:
    answer = "1, 2, 0"
    mutated = answer[:at] + instead + answer[at + 1 :]
    if score(f"</think><answer>{mutated}</answer>")["score"] == 1.0:
        figures = "".join(c if c.isdigit() else " " for c in mutated).split()
        assert figures == ["1", "2", "0"] or figures == ["1", "1", "2", "2", "3", "0"]


def test_the_whole_solution_scores_and_no_part_of_its_lines_does() -> None:
    lines = ["state 1: 1\n", "state 2: 2\n", "state 3: 0\n"]
    for kept in range(4):
        assert score("".join(lines[:kept]))["score"] == 0.0
    assert score("".join(lines) + " </think>\n<answer> (1) 1 (2) 2 (3) 0 </answer>")["score"] == 1.0


@pytest.mark.parametrize(
    "truth",
    [None, [1], {}, {"solution": [1]}, {"start": 0}, {"start": 0, "solution": []}, {"start": 0, "solution": [1.5]},
     {"start": "0", "solution": [1]}, {"start": 0, "solution": [True]}, {"start": 0, "solution": [-1]}],
    ids=str,
)  # fmt: skip
def test_a_malformed_ground_truth_is_an_error_of_the_data(truth: object) -> None:
    found = compute_score("chain", "<answer> 1 </answer>", truth)
    assert (found["score"], found["reward_error"]) == (0.0, 1.0)
    assert "chain ground truth" in str(found["pred"])


def test_numbers_may_be_numpys_as_parquet_readers_give_them() -> None:
    truth = {"start": np.int64(2), "solution": np.array([1, 2, 0])}
    assert score("<answer> 1, 2, 0 </answer>", truth)["score"] == 1.0


@settings(max_examples=300)
@given(
    st.text(), st.lists(st.sampled_from(["1", " ", ", ", "(1) ", "state 1: ", "\n", "and ", "->", "."])).map("".join)
)
def test_no_text_raises(text: str, pieces: str) -> None:
    score(text)
    score(f"</think><answer>{text}{pieces}</answer>")
    score(f"<answer>{pieces}</answer>")


MANY = 20_000
HOSTILE = {
    "commas": "," * MANY,
    "blanks": " " * MANY,
    "newlines between": "1" + "\n" * MANY + "x",
    "and": "1 and " * MANY,
    "and without end": "1" + " and" * 5_000 + "x",
    "arrows": "1" + "->" * 10_000,
    "zeros": "0" * MANY,
    "numbers": "1 " * 10_000 + "x",
    "numbered": "(1) 1 " * 5_000,
    "counted": " ".join(f"({n}) 1" for n in range(1, 3_000)) + " x",
    "states": "state " * 5_000,
    "brackets": "(" * MANY,
    "bold": "*" * MANY,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_response_takes_long(name: str) -> None:
    response = f"</think><answer>{HOSTILE[name]}</answer>"
    assert quickest(lambda: score(response), 0.2) < 0.2
    assert score(response)["acc"] == 0.0


def test_a_random_score_owes_nothing_to_being_right_and_the_verdict_stays() -> None:
    right, wrong = "<answer> 1, 2, 0 </answer>", "<answer> 1, 2, 1 </answer>"
    scores: dict[str, list[float]] = {right: [], wrong: []}
    for thought in range(2_000):
        for answer, kept in scores.items():
            found = compute_score("chain", f"{thought} </think>{answer}", TRUTH, reward="random")
            assert found["acc"] == float(answer == right)
            assert found == compute_score("chain", f"{thought} </think>{answer}", TRUTH, reward="random")
            kept.append(float(found["score"]))
    # four standard errors of a share of 2,000
    assert all(set(kept) == {0.0, 1.0} and abs(sum(kept) / 2_000 - 0.5) < 0.045 for kept in scores.values())
    assert compute_score("chain", right, {}, reward="random")["reward_error"] == 1.0
    assert sum(compute_score("chain", f"{n}", {}, reward="random")["score"] == 1.0 for n in range(50)) == 0
