"""The countdown reward on random, mutated and hostile responses: never wrong, never an exception, never slow."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reward_fns import compute_score
from reward_fns.expression import read_expression
from tests.helpers.countdown_checks import judged
from tests.helpers.timing import quickest

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
    assert quickest(lambda: judged(response), 0.2) < 0.2
    assert judged(response)["acc"] == float(name == "equal blocks")


def test_typical_responses_are_scored_by_the_thousand_per_second() -> None:
    response = "19 + 35 = 54\n44 + 54 = 98\nTherefore, it is 44 + (19 + 35) </think>\n<answer> 44 + (19 + 35) </answer>"
    truth = {"numbers": [44, 19, 35], "target": 98}
    # Measured at over 30,000 a second; the bound leaves room for a busy machine.
    assert quickest(lambda: [compute_score("countdown", response, truth) for _ in range(2_000)], 0.4) < 0.4
