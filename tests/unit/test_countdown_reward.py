"""The countdown reward: what counts as an answer, what it scores, and that no response can crash or stall it."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reward_fns import compute_score
from reward_fns.countdown import read_ground_truth, score
from reward_fns.expression import MAX_DEPTH, read_expression

REFERENCE = Path(__file__).resolve().parents[2].parent / "shared" / "reference_data"
KEYS = {"score", "acc", "format", "parse_fail", "reward_error", "pred"}

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
    "<answer>+2*3*4</answer>",
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
    ("<answer>-3+5</answer>", [3, 5], 2, 0.1),
    ("<answer>5-3-2+10</answer>", [10, 2, 3, 5], 10, 1.0),
    ("<answer>20/5/2</answer>", [2, 5, 20], 2, 1.0),
    ("<answer>20-5*2</answer>", [2, 5, 20], 10, 1.0),
    ("<answer>1/3*3</answer>", [1, 3, 3], 1, 1.0),
    ("<answer>1+2</answer>", [12], 3, 0.1),
]


def judged(response: str, numbers: object = (2, 3, 4), target: object = 24) -> dict[str, float | str]:
    result = compute_score("countdown", response, {"numbers": numbers, "target": target})
    assert set(result) == KEYS
    assert result["reward_error"] == 0.0
    assert result["format"] == 1.0 - float(result["parse_fail"])
    assert result["acc"] == float(result["score"] == 1.0)
    str(result["pred"]).encode("utf-8")
    return result


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
    assert set(result) == KEYS
    assert result["reward_error"] == 1.0
    assert (result["score"], result["acc"], result["format"], result["parse_fail"]) == (0.0, 0.0, 0.0, 0.0)
    assert part in str(result["pred"])


def test_an_unknown_data_source_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'countdwon'; known: .*countdown"):
        compute_score("countdwon", "", {})


# --- properties --------------------------------------------------------------------------------------------------

Tree = int | tuple[str, "Tree", "Tree"]

trees = st.recursive(
    st.integers(0, 99),
    lambda sub: st.tuples(st.sampled_from("+-*/"), sub, sub),
    max_leaves=6,
)
spellings = st.fixed_dictionaries(
    {
        "+": st.sampled_from(["+", " + ", "＋"]),
        "-": st.sampled_from(["-", " − ", "–"]),
        "*": st.sampled_from(["*", r"\times ", " × ", r"\cdot ", "·"]),
        "/": st.sampled_from(["/", r"\div ", "÷", " / "]),
        "brackets": st.sampled_from(["()", "[]", "{}", "（）"]),
    }
)


def value_of(tree: Tree) -> Fraction | None:
    if isinstance(tree, int):
        return Fraction(tree)
    a, b = value_of(tree[1]), value_of(tree[2])
    if a is None or b is None:
        return None
    if tree[0] == "/":
        return None if b == 0 else a / b
    return {"+": a + b, "-": a - b, "*": a * b}[tree[0]]


def leaves(tree: Tree) -> list[int]:
    return [tree] if isinstance(tree, int) else leaves(tree[1]) + leaves(tree[2])


def written(tree: Tree, spelling: dict[str, str]) -> str:
    if isinstance(tree, int):
        return str(tree)
    opening, closing = spelling["brackets"]
    return opening + written(tree[1], spelling) + spelling[tree[0]] + written(tree[2], spelling) + closing


@given(trees, spellings, st.text(alphabet="abc 1+<>\n", max_size=30))
def test_a_random_expression_scores_one_exactly_at_its_own_value(
    tree: Tree, spelling: dict[str, str], text: str
) -> None:
    value = value_of(tree)
    response = f"{text} </think>\n<answer> {written(tree, spelling)} </answer>"
    if value is None:
        assert judged(response, leaves(tree), 24)["score"] == 0.1
        return
    target = value.numerator // value.denominator
    assert judged(response, leaves(tree), target)["score"] == (1.0 if value == target else 0.1)
    assert judged(response, leaves(tree), target + 1)["score"] == 0.1
    assert judged(response, [*leaves(tree), 1], target)["score"] == 0.1


@given(trees, spellings)
def test_reading_gives_the_value_and_the_numbers(tree: Tree, spelling: dict[str, str]) -> None:
    read = read_expression(written(tree, spelling))
    assert read is not None
    assert read.numbers == leaves(tree)
    assert read.value() == value_of(tree)


signs = st.sampled_from(
    [*"0123456789+-*/()[]{}=.$x\\ ", *"×÷−·２＋", r"\frac", r"\left(", r"\boxed{", "<answer>", "</answer>", "</think>"]
)


@settings(max_examples=500)
@given(st.lists(signs, max_size=60).map("".join))
def test_no_mixture_of_signs_and_tags_raises(response: str) -> None:
    judged(response)
    judged(f"<answer>{response}</answer>")


@settings(max_examples=300)
@given(st.text())
def test_no_text_raises(response: str) -> None:
    judged(response)
    judged(f"</think><answer>{response}</answer>")


@given(st.integers(0, 13), st.sampled_from([*"0123456789+-*/()=.x ", ""]), st.booleans())
def test_a_mutated_answer_scores_one_only_if_it_still_solves_the_problem(at: int, sign: str, replace: bool) -> None:
    answer = "44 + (19 + 35)"
    mutated = answer[:at] + sign + answer[at + replace :]
    result = judged(f"</think><answer>{mutated}</answer>", [44, 19, 35], 98)
    if result["score"] == 1.0:
        # an independent look: same numbers, only plus signs between them, brackets do not matter for a sum
        bare = mutated.replace("(", " ").replace(")", " ").replace(" ", "")
        assert sorted(bare.split("+")) == ["19", "35", "44"]


# --- the published data and the clock ------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_published_answer_scores_one(split: str) -> None:
    path = REFERENCE / "countdown" / f"{split}.parquet"
    if not path.exists():
        pytest.skip(f"the published countdown data is not at {path}")
    rows = pq.read_table(path, columns=["answer", "reward_model"]).to_pylist()
    assert len(rows) == {"train": 10_240, "test": 1_024}[split]
    wrong = [row for row in rows if judged(row["answer"], **row["reward_model"]["ground_truth"])["score"] != 1.0]
    assert wrong == []
    cut_short = [row for row in rows if judged(row["answer"][:-1], **row["reward_model"]["ground_truth"])["score"] != 0]
    assert cut_short == []


def test_countdown_rows_of_the_published_mixed_evaluation_score_one() -> None:
    path = REFERENCE / "others" / "test.parquet"
    if not path.exists():
        pytest.skip(f"the published mixed evaluation data is not at {path}")
    rows = pq.read_table(path, columns=["answer", "reward_model", "data_source"]).to_pylist()
    countdown = [row for row in rows if row["data_source"] == "countdown"]
    assert len(countdown) == 1_024
    for row in countdown:
        assert compute_score("countdown", row["answer"], row["reward_model"]["ground_truth"])["score"] == 1.0


MILLION = 1_000_000
ADVERSARIAL = {
    "power tower": "<answer>98**87**9</answer>",
    "nested brackets": "<answer>" + "(" * 100_000 + "2*3*4" + ")" * 100_000 + "</answer>",
    "open brackets": "<answer>" + "(" * MILLION + "</answer>",
    "digits": "<answer>" + "9" * MILLION + "</answer>",
    "minus signs": "<answer>" + "-" * MILLION + "2</answer>",
    "long sum": "<answer>" + "2+" * (MILLION // 2) + "2</answer>",
    "long product below the limit": "<answer>" + "*".join(["999999999"] * 99) + "</answer>",
    "fractions": "<answer>" + r"\frac{" * 100_000 + "</answer>",
    "blanks": "<answer>" + " " * MILLION + "</answer>",
    "backslashes": "<answer>" + "\\" * MILLION + "</answer>",
    "nul": "\x00" * MILLION + "<answer>\x00</answer>",
    "bidi": "\u202e\u2066" * (MILLION // 2) + "<answer>\u202e2*3*4</answer>",
    "emoji": "\U0001f600" * MILLION,
    "unclosed tags": "<answer>" * 100_000,
    "unopened tags": "</answer>" * 100_000,
    "half tags": "<answer" * 100_000 + "</answer" * 100_000,
    "unclosed thoughts": "<think>" * 100_000 + "</think>" * 100_000,
    "empty blocks": "<answer></answer>" * 100_000,
    "equal blocks": "<answer>2*3*4</answer>" * 50_000,
    "different blocks": "".join(f"<answer>{i}</answer>" for i in range(50_000)),
    "long different blocks": "".join(f"<answer>{'1+' * 490}{i}</answer>" for i in range(1_000)),
    "open tags, one end": "<answer>" * 100_000 + "</answer>",
    "equals signs": "<answer>" + "=" * 900 + "</answer>",
}


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_no_response_takes_long(name: str) -> None:
    response = ADVERSARIAL[name]
    started = time.process_time()  # not the wall clock: other processes may hold the machine
    result = judged(response)
    assert time.process_time() - started < 0.2
    assert result["acc"] == float(name == "equal blocks")


def test_typical_responses_are_scored_by_the_thousand_per_second() -> None:
    response = "19 + 35 = 54\n44 + 54 = 98\nTherefore, it is 44 + (19 + 35) </think>\n<answer> 44 + (19 + 35) </answer>"
    truth = {"numbers": [44, 19, 35], "target": 98}
    started = time.process_time()
    for _ in range(2_000):
        compute_score("countdown", response, truth)
    # Measured at over 30,000 a second; the bound leaves room for a busy machine.
    assert 2_000 / (time.process_time() - started) > 5_000
