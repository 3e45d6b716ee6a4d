"""The mathematics reward: which text is the answer, in tags or boxes, and what equal and different answers score."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pyarrow.parquet as pq
import pytest

from reward_fns.math.equal import quick
from reward_fns.math.reward import boxed_texts, last_boxed, read_ground_truth, score
from tests import ROOT

REFERENCE = ROOT.parent / "shared" / "reference_data"

# Forms that a plain comparison of text gets wrong; UFT's own checker rejects ten of them.
SIXTEEN = [
    (r"\frac{1}{2}", r"\frac{1}{2}"),
    ("1/2", r"\frac{1}{2}"),
    ("0.5", r"\frac{1}{2}"),
    (r"\dfrac{1}{2}", r"\frac{1}{2}"),
    ("x = 5", "5"),
    ("(1, 2)", "(1,2)"),
    (r"\boxed{12}", "12"),
    ("$12$", "12"),
    ("The answer is 12.", "12"),
    ("10.0", "10"),
    ("1000", "1,000"),
    (r"\{2,1\}", r"\{1,2\}"),
    ("1+x^2", "x^2+1"),
    ("50%", r"50\%"),
    (r"3 \sqrt 2", r"3\sqrt{2}"),
    ("0.75", r"\frac{3}{4}"),
]


def never(answer: str, gold: str) -> dict[str, Any]:
    raise AssertionError(f"asked the symbolic verifier about {answer!r} and {gold!r}")


def by_quick(answer: str, gold: str) -> dict[str, Any]:
    return quick(answer, gold) or never(answer, gold)


@pytest.mark.parametrize(("answer", "gold"), SIXTEEN)
def test_equivalent_notations_score_one_without_the_symbolic_verifier(answer: str, gold: str) -> None:
    for response in (f"<answer> {answer} </answer>", f"so </think>\n<answer>\n{answer}\n</answer>\ntext"):
        assert score(response, {"target": gold}, verify=by_quick).score == 1.0
    assert score(f"it is $\\boxed{{{answer}}}$.", {"target": gold}, by_quick, "boxed").score == 1.0


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (r"so $\boxed{7}$", 1.0),
        (r"\boxed{6} was wrong." "\n" r"It is \boxed{7}.", 1.0),
        (r"\boxed{6} </think> \boxed{7}", 1.0),
        (r"\boxed{\text{seven}} or" "\n" r"\boxed {7}", 1.0),
        (r"\boxed 7", 1.0),
        (r"\boxed{7} and then \boxed{8", 1.0),
        (r"\boxed{\frac{14}{2}}", 1.0),
        (r"\boxed{7} </think> no box", 0.0),
        (r"\boxed{7}" "\n" r"\boxed{6}", 0.1),
        (r"\boxed{6} or \boxed{7}", 0.1),
        (r"\boxed{6, 7}", 0.1),
        (r"\boxed{7} = \boxed{7.0}", 1.0),
        ("<answer>7</answer>", 0.0),
        (r"\boxed{}", 0.0),
        (r"\boxed{7", 0.0),
        ("", 0.0),
    ],
)
def test_boxed_answers(response: str, expected: float) -> None:
    assert score(response, {"target": "7"}, verify=by_quick, answer_format="boxed").score == expected


def test_boxes_are_found_whole_and_fast() -> None:
    assert last_boxed(r"a \boxed{\left\{\frac{1}{2}, {3}\right\}} b") == r"\left\{\frac{1}{2}, {3}\right\}"
    assert last_boxed(r"\boxed{1} and \boxed{\boxed{2} cm} and \boxed{3") == r"\boxed{2} cm"
    assert last_boxed("none }{ \\boxed") is None
    assert len(boxed_texts("".join(f"\\boxed{{{k}}}" for k in range(1000)))) == 17
    started = time.process_time()
    for hostile in ("\\boxed{" * 50_000, "{" * 200_000, "\\boxed{" * 50_000 + "}" * 50_000, "\\boxed" + " " * 200_000):
        boxed_texts(hostile)
    assert time.process_time() - started < 3


def test_the_verifier_is_asked_about_the_whole_answer_and_its_word_counts() -> None:
    asked = []

    def verify(answer: str, gold: str) -> dict[str, Any]:
        asked.append((answer, gold))
        return {"equal": True, "readable": True, "how": "test"}

    answer = "x" * 900
    verdict = score(f"<answer>{answer}</answer>", {"target": "7", "question": "?", "numbers": None}, verify=verify)
    assert asked == [(answer, "7")]
    assert (verdict.score, verdict.pred) == (1.0, answer[:200])
    assert score("<answer>7</answer><answer>8</answer>", {"target": "7"}, verify=never).score == 0.1
    assert score("<answer>\ud800</answer>", {"target": "7"}, verify=by_quick).pred == "\\ud800"


@pytest.mark.parametrize(
    "truth", [None, "7", {}, {"target": 7}, {"target": ""}, {"target": " $$ "}, {"target": r"\frac{1"}]
)
def test_a_malformed_ground_truth_raises_whatever_the_response(truth: object) -> None:
    for response in ("", "<answer></answer>", "<answer>7</answer>"):
        with pytest.raises(ValueError, match=r"ground truth must be|gold answer"):
            score(response, truth)
    with pytest.raises(ValueError, match=r"ground truth must be|gold answer"):
        read_ground_truth(truth)


@pytest.mark.parametrize(("task", "number"), [("math", 1024), ("others", 3903)])
def test_every_published_answer_scores_one_and_a_foreign_one_does_not(task: str, number: int) -> None:
    path = REFERENCE / task / "test.parquet"
    if not path.exists():
        pytest.skip(f"the published {task} data is not at {path}")
    rows = pq.read_table(path, columns=["answer", "data_source", "reward_model"]).to_pylist()
    rows = [row for row in rows if row["data_source"] != "countdown"]
    assert len(rows) == number
    for row in rows:
        truth = row["reward_model"]["ground_truth"]
        assert score(row["answer"], truth, verify=by_quick).score == 1.0, truth["target"]
    rewarded = [
        (row["answer"][-60:], other["reward_model"]["ground_truth"]["target"])
        for row, other in pairwise(rows)
        if row["answer"].split("<answer>")[-1] != other["answer"].split("<answer>")[-1]
        and score(
            row["answer"],
            other["reward_model"]["ground_truth"],
            verify=lambda a, g: quick(a, g) or {"equal": False, "readable": True},
        ).correct
    ]
    # 18 and 18.0, 30 and 30 degrees; anything like this is the same value
    assert len(rewarded) <= 8, rewarded
