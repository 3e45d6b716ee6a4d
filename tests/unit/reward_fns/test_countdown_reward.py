"""The countdown reward: what counts as an answer, what it scores, and that no response can crash or stall it."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from reward_fns import compute_score
from reward_fns.countdown import read_ground_truth, score
from reward_fns.expression import MAX_DEPTH
from tests.helpers.countdown_checks import REFERENCE, RESULT_KEYS, judged

# The numbers are 2, 3, 4 and the target is 24 unless given.
CORRECT = [
    "<answer>2*3*4</answer>",
    "<answer>2*3*4</answer>\n",
    "<answer>\n2*3*4\n</answer>",
    "<answer>2*3*4</answer>\nThat is the answer.",
    "so it works </think>\n<answer> 2*3*4 </answer> and more text",
    "<answer>2*3*4 = 24</answer>",
    "<answer>24 = 2*3*4</answer>",
    r"<answer>2 \times 3 \times 4</answer>",
    "<answer>2 × 3 × 4</answer>",
    r"<answer>2 \cdot 3 · 4</answer>",
    "<answer>2 ∗ 3 ⋅ 4</answer>",
    "<answer>2 x 3 x 4</answer>",
    r"<answer>$2 \times 3 \times 4 = 24$</answer>",
    r"<answer>$$2*3*4$$ = 24</answer>",
    r"<answer>\boxed{2*3*4}</answer>",
    r"<answer>$\boxed{2*3*4 = 24}$</answer>",
    r"<answer>\(2*3*4\) = 24</answer>",
    r"<answer>\[ 2*3*4 = 24 \]</answer>",
    r"<answer>\left(2 * 3\right) \, \cdot 4</answer>",
    "<answer>[2 * {3 * (4)}]</answer>",
    "<answer>２＊３×４</answer>",
    "<answer>（２ * 3） * 4</answer>",
    "<answer>2*3*4</answer> again: <answer> 2 × 3 × (4) </answer>",
    "a stray <answer> tag, then <answer>2*3*4</answer>",
    "<answer>9</answer> was a thought </think> <answer>2*3*4</answer>",
]
READABLE_BUT_WRONG = [
    "<answer>2+3+4</answer>",
    "<answer>2+3+4 = 24</answer>",
    "<answer>24</answer>",
    "<answer>2*3*4*1</answer>",
    "<answer>2*3*2*2</answer>",
    "<answer>2*3</answer>",
    "<answer>-2*3*-4</answer>",
    "<answer>4 - -2 + 3</answer>",
    "<answer>2/(3-3)*4</answer>",
    "<answer>4/(2-2)</answer>",
    "<answer>2*3*4</answer> or <answer>4*3*2</answer>",
    "<answer>2*3*4</answer> or <answer>2+3+4</answer>",
    "<answer>no idea</answer> or <answer>2*3*4</answer>",
    "".join(f"<answer>{i}+1</answer>" for i in range(100)) + "<answer>2*3*4</answer>",
    "</think><answer>2+3+4</answer></think><answer>2*3*4</answer>",
]
UNREADABLE = [
    "",
    "2*3*4",
    "the answer is 24",
    "<answer></answer>",
    "<answer> </answer>",
    "<answer>2*3*4",
    "2*3*4</answer>",
    "<answer>2*3*4</answer> was a thought </think> and nothing after it",
    "<answer>2*3*4 is the answer</answer>",
    "<answer>2**3*4</answer>",
    "<answer>24//1</answer>",
    "<answer>2*3*4.0</answer>",
    "<answer>2*3*4e0</answer>",
    "<answer>2 3 4</answer>",
    "<answer>2(3)(4)</answer>",
    "<answer>02*3*4</answer>",
    "<answer>2*3*4 = 6*4 = 24</answer>",
    "<answer>2*3*4 = 4*6</answer>",
    "<answer>(2*3*4</answer>",
    "<answer>(2*3]*4</answer>",
    "<answer>2*3*4)</answer>",
    "<answer>()2*3*4</answer>",
    "<answer>2*3*٤</answer>",
    "<answer>2*3*4²</answer>",
    "<answer>2*3*\u202e4</answer>",
    "<answer>2*3*4\x00</answer>",
    "<answer>__import__('os').abort()</answer>",
    "<answer>2*3*4,</answer>",
    "<answer>2_3*4</answer>",
    "<answer>++2*3*4</answer>",
    "<answer>\\</answer>",
    "<answer>=</answer>",
    "<answer>2*3*4 =</answer>",
    "<answer>" + "(" * (MAX_DEPTH + 1) + "2*3*4" + ")" * (MAX_DEPTH + 1) + "</answer>",
    "<answer>98**87**9</answer>",
]
OTHER_PROBLEMS = [
    ("<answer>3**2-1</answer>", [1, 2, 3], 8, 0.0),
    ("<answer>1.2*5</answer>", [1, 2, 5], 6, 0.0),
    ("<answer>(4-.5)*2</answer>", [2, 4, 5], 7, 0.0),
    ("<answer>8/(3-8/3)</answer>", [3, 3, 8, 8], 24, 1.0),
    ("<answer>8 ÷ (3 − 8 ∕ 3)</answer>", [3, 3, 8, 8], 24, 1.0),
    (r"<answer>\frac{8}{3-\dfrac{8}{3}}</answer>", [3, 3, 8, 8], 24, 1.0),
    (r"<answer>\frac{8}{3} \div 8</answer>", [3, 8, 8], 24, 0.1),
    ("<answer>-3+5</answer>", [3, 5], 2, 1.0),
    ("<answer>-4 + 10</answer>", [4, 10], 6, 1.0),
    ("<answer>(-4 + 10) * 3</answer>", [3, 4, 10], 18, 1.0),
    ("<answer>-(3 - 5)</answer>", [3, 5], 2, 1.0),
    ("<answer>10 + -4</answer>", [4, 10], 6, 0.1),
    ("<answer>10 + (-4)</answer>", [4, 10], 6, 0.1),
    ("<answer>--4 + 10</answer>", [4, 10], 14, 0.1),
    ("<answer>3*4 = 12</answer>", [3, 4], 12, 1.0),
    ("<answer>3*4 = 13</answer>", [3, 4], 12, 0.1),
    ("<answer>13 = 3*4</answer>", [3, 4], 12, 0.1),
    ("<answer>$3 \\times 4 = 13$</answer>", [3, 4], 12, 0.1),
    ("<answer>4 - 10 = -6</answer>", [4, 10], -6, 1.0),
    ("<answer>4 - 10 = 6</answer>", [4, 10], -6, 0.1),
    ("<answer>3/(4-4) = 5</answer>", [3, 4, 4], 5, 0.1),
    ("<answer>3*4</answer> so <answer>3*4 = 13</answer>", [3, 4], 12, 0.1),
    ("<answer>3*4</answer> so <answer>3*4 = 12</answer>", [3, 4], 12, 1.0),
    ("<answer>5-3-2+10</answer>", [10, 2, 3, 5], 10, 1.0),
    ("<answer>20/5/2</answer>", [2, 5, 20], 2, 1.0),
    ("<answer>20-5*2</answer>", [2, 5, 20], 10, 1.0),
    ("<answer>1/3*3</answer>", [1, 3, 3], 1, 1.0),
    ("<answer>1+2</answer>", [12], 3, 0.1),
]


@pytest.mark.parametrize("response", CORRECT)
def test_right_answers_in_any_notation_score_one(response: str) -> None:
    assert judged(response)["score"] == 1.0


@pytest.mark.parametrize("response", READABLE_BUT_WRONG)
def test_readable_but_wrong_or_hedging_answers_score_the_format(response: str) -> None:
    assert judged(response)["score"] == 0.1


@pytest.mark.parametrize("response", UNREADABLE)
def test_what_the_grammar_cannot_read_scores_zero(response: str) -> None:
    assert judged(response)["score"] == 0.0


@pytest.mark.parametrize(("response", "numbers", "target", "expected"), OTHER_PROBLEMS)
def test_other_problems(response: str, numbers: list[int], target: int, expected: float) -> None:
    assert judged(response, numbers, target)["score"] == expected


def test_the_text_read_is_reported() -> None:
    assert judged("</think>\n<answer> 2*3*4 = 24 </answer>")["pred"] == "2*3*4 = 24"
    assert judged("<answer>2*3*4</answer><answer>1</answer>")["pred"] == "2*3*4 | 1"
    assert judged("<answer>\ud800</answer>")["pred"] == "\\ud800"


def test_ground_truth_as_arrays_lists_and_text_score_the_same() -> None:
    response = "<answer>2*3*4</answer>"
    forms = [[2, 3, 4], (4, 3, 2), np.array([3, 2, 4]), np.array([2, 3, 4], dtype=object), [np.int64(2), 3, 4]]
    results = [judged(response, numbers, target) for numbers in forms for target in (24, np.int32(24), "24")]
    assert all(result == results[0] for result in results)
    assert results[0]["score"] == 1.0


@pytest.mark.parametrize(
    ("ground_truth", "part"),
    [
        (None, "must be {numbers, target}"),
        ([1, 2], "must be {numbers, target}"),
        ({"numbers": [1, 2]}, "lacks 'target'"),
        ({"target": 3}, "lacks 'numbers'"),
        ({"numbers": None, "target": 3}, "lacks 'numbers'"),
        ({"numbers": [], "target": 3}, "'numbers' must be a non-empty list"),
        ({"numbers": 12, "target": 3}, "'numbers' must be a non-empty list"),
        ({"numbers": "12", "target": 3}, "'numbers' must be a non-empty list"),
        ({"numbers": [1, 2.0], "target": 3}, "'numbers' must hold whole numbers, got 2.0"),
        ({"numbers": [1, -2], "target": 3}, "must not be negative"),
        ({"numbers": [1, True], "target": 3}, "'numbers' must hold whole numbers, got True"),
        ({"numbers": [1, 2], "target": "three"}, "'target' must hold whole numbers, got 'three'"),
    ],
)
def test_a_malformed_ground_truth_is_an_error_that_is_counted(ground_truth: object, part: str) -> None:
    with pytest.raises(ValueError, match="countdown ground truth") as raised:
        read_ground_truth(ground_truth)
    assert part in str(raised.value)
    with pytest.raises(ValueError, match="countdown ground truth"):
        score("<answer>1+2</answer>", ground_truth)
    result = compute_score("countdown", "<answer>1+2</answer>", ground_truth)
    assert set(result) == RESULT_KEYS
    assert result["reward_error"] == 1.0
    assert (result["score"], result["acc"], result["format"], result["parse_fail"]) == (0.0, 0.0, 0.0, 0.0)
    assert part in str(result["pred"])


def test_an_unknown_data_source_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'countdwon'; known: .*countdown"):
        compute_score("countdwon", "", {})


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_published_answer_scores_one(split: str) -> None:
    path = REFERENCE / f"{split}.parquet"
    if not path.exists():
        pytest.skip(f"the published countdown data is not at {path}")
    rows = pq.read_table(path, columns=["answer", "reward_model"]).to_pylist()
    assert len(rows) == {"train": 10_240, "test": 1_024}[split]
    wrong = [row for row in rows if judged(row["answer"], **row["reward_model"]["ground_truth"])["score"] != 1.0]
    assert wrong == []
    cut_short = [row for row in rows if judged(row["answer"][:-1], **row["reward_model"]["ground_truth"])["score"] != 0]
    assert cut_short == []


def test_countdown_rows_of_the_published_mixed_evaluation_score_one() -> None:
    path = REFERENCE.parent / "others" / "test.parquet"
    if not path.exists():
        pytest.skip(f"the published mixed evaluation data is not at {path}")
    rows = pq.read_table(path, columns=["answer", "reward_model", "data_source"]).to_pylist()
    countdown = [row for row in rows if row["data_source"] == "countdown"]
    assert len(countdown) == 1_024
    for row in countdown:
        assert compute_score("countdown", row["answer"], row["reward_model"]["ground_truth"])["score"] == 1.0
