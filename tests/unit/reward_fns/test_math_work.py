r"""A copy of the question is never an answer: every operation of the table earns the format, its value full marks."""

from __future__ import annotations

import random
from math import comb, gcd

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reward_fns import compute_score
from reward_fns.math.expression import parse
from reward_fns.math.operators import FUNCTIONS, OPERATORS, docs_table
from reward_fns.math.work import work_left
from tests import ROOT

EXAMPLES = [(operator.kind, unworked, value) for operator in OPERATORS for unworked, value in operator.examples]
TAGS = "</think>\n<answer>{}</answer>"
FRAMES = (
    "{}",
    "${}$",
    r"\( {} \)",
    r"\boxed{{{}}}",
    r"\left( {} \right)",
    r"\left\{{ {} \right\}}",
    "= {}",
    "x = {}",
    r"\approx {}",
    "The answer is {}.",
    r"\text{{The answer is }} {}",
    r"\textbf{{${}$}}",
    r"\textcolor{{red}}{{{}}}",
    r"{}.",
)


def scored(answer: str, gold: str) -> float:
    result = compute_score("math", TAGS.replace("{}", answer), {"target": gold})
    boxed = compute_score("math", f"so $\\boxed{{{answer}}}$", {"target": gold}, answer_format="boxed")
    assert result["reward_error"] == result["timeout"] == boxed["reward_error"] == boxed["timeout"] == 0.0
    assert boxed["score"] == result["score"], "tags and boxes disagree"
    return float(result["score"])


@pytest.mark.parametrize(("kind", "unworked", "value"), EXAMPLES, ids=[f"{k}: {u}" for k, u, _ in EXAMPLES])
def test_an_operation_earns_the_format_and_its_value_full_marks_in_any_frame(
    kind: str, unworked: str, value: str
) -> None:
    for frame in FRAMES:
        assert scored(frame.format(unworked), value) == 0.1, frame
        if not (value.startswith(r"\{") and r"\{" in frame):
            assert scored(frame.format(value), value) == 1.0, frame
    assert scored(f"{unworked}, 77", f"{value}, 77") == 0.1
    assert scored(f"{value}, 77", f"{value}, 77") == 1.0


@pytest.mark.parametrize(("kind", "unworked", "value"), EXAMPLES, ids=[f"{k}: {u}" for k, u, _ in EXAMPLES])
def test_a_gold_that_keeps_the_operation_accepts_it(kind: str, unworked: str, value: str) -> None:
    assert scored(unworked, unworked) == 1.0
    assert scored(rf" \left. {unworked} \right. ", unworked) == 1.0


def test_the_grammar_knows_the_functions_of_the_table_and_no_other_and_names_their_kind() -> None:
    kinds = {operator.kind: operator for operator in OPERATORS}
    assert len(kinds) == len(OPERATORS)
    for operator in OPERATORS:
        for name in operator.functions:
            assert operator.kind in work_left(parse(rf"\{name} {{2}}")), name
    assert work_left(parse("2^{10} + 12 * 13")) == work_left(parse(r"\frac{3x}{7} - \pi")) == frozenset()
    assert "gamma" not in FUNCTIONS


def test_the_docs_show_the_table() -> None:
    docs = ROOT / "docs" / "tasks" / "math.md"
    assert docs_table() in docs.read_text(encoding="utf-8"), "docs/tasks/math.md lacks math_operators.docs_table()"


numbers = st.integers(2, 60)


@settings(max_examples=150, deadline=None)
@given(numbers, st.integers(2, 400), st.integers(3, 97), st.sampled_from(("mod", "bmod", "pmod")))
def test_remainders_are_not_answers_and_their_values_are(base: int, power: int, m: int, command: str) -> None:
    value = pow(base, power, m)
    divisor = f"{{{m}}}" if command == "pmod" else str(m)
    assert scored(rf"{base}^{{{power}}} \{command} {divisor}", str(value)) == 0.1
    assert scored(rf"{base}^{{{power}}} \{command} {divisor} = {value}", str(value)) == 1.0
    assert scored(rf"{base}^{{{power}}} \equiv {value} \pmod{{{m}}}", str(value)) == 1.0
    wrong = (value + 1) % m
    assert scored(rf"{base}^{{{power}}} \{command} {divisor} = {wrong}", str(wrong)) == 0.1
    assert scored(rf"{base}^{{{power}}} \equiv {wrong} \pmod{{{m}}}", str(wrong)) == 0.1


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 12), st.integers(1, 11), st.randoms(use_true_random=False))
def test_combinations_in_any_writing_are_not_answers(n: int, k: int, draw: random.Random) -> None:
    k = min(k, n - 1)
    value = str(comb(n, k))
    writings = [
        rf"\binom{{{n}}}{{{k}}}",
        rf"{{{n} \choose {k}}}",
        f"C({n},{k})",
        f"{{}}_{{{n}}}C_{{{k}}}",
        rf"\frac{{{n}!}}{{{k}!({n}-{k})!}}",
        rf"\frac{{({n - 1}+1)!}}{{{k}! \cdot {n - k}!}}",
    ]
    work = draw.choice(writings)
    assert scored(work, value) == 0.1
    assert scored(f"{work} = {value}", value) == 1.0
    assert scored(f"{work} = {int(value) + 1}", str(int(value) + 1)) == 0.1


@settings(max_examples=30, deadline=None)
@given(numbers, numbers)
def test_greatest_common_divisors_are_not_answers(a: int, b: int) -> None:
    assert scored(rf"\gcd({a}, {b})", str(gcd(a, b))) == 0.1
    assert scored(str(gcd(a, b)), rf"{gcd(a, b)}") == 1.0


entries = st.lists(st.integers(-9, 9), min_size=4, max_size=4)


def matrix(values: list[int], columns: int = 2) -> str:
    rows = [" & ".join(map(str, values[at : at + columns])) for at in range(0, len(values), columns)]
    return r"\begin{pmatrix} " + r" \\ ".join(rows) + r" \end{pmatrix}"


@settings(max_examples=60, deadline=None)
@given(entries, entries)
def test_operations_of_matrices_are_not_answers(a: list[int], b: list[int]) -> None:
    product = [sum(a[2 * i + k] * b[2 * k + j] for k in range(2)) for i in range(2) for j in range(2)]
    total = [x + y for x, y in zip(a, b, strict=True)]
    transposed = [a[0], a[2], a[1], a[3]]
    for work, value in (
        (matrix(a) + matrix(b), product),
        (matrix(a) + r" \cdot " + matrix(b), product),
        (matrix(a) + "+" + matrix(b), total),
        (matrix(a) + "^T", transposed),
        (f"{matrix(a)}^{{\\mathsf{{T}}}}", transposed),
    ):
        assert scored(work, matrix(value)) == 0.1
        assert scored(matrix(value), matrix(value)) == 1.0
    determinant = a[0] * a[3] - a[1] * a[2]
    assert scored(r"\det " + matrix(a), str(determinant)) == 0.1
    assert scored(matrix(a).replace("pmatrix", "vmatrix"), str(determinant)) == 0.1


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        ("2^{10}", "1024", 1.0),
        (r"7 \cdot 9 + 1", "64", 1.0),
        ("12*13", "156", 1.0),
        ("(x+1)(x+2)", "x^2+3x+2", 1.0),
        (r"\frac{1}{5}\begin{pmatrix} 1 \\ -18 \end{pmatrix}", r"\begin{pmatrix} 1/5 \\ -18/5 \end{pmatrix}", 1.0),
        (r"\frac{1}{2}\begin{pmatrix} 2 \\ 4 \end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", 0.1),
        (r"\frac{1}{5}\begin{pmatrix} 1 \\ 18 \end{pmatrix}", r"\begin{pmatrix} 1/5 \\ -18/5 \end{pmatrix}", 0.1),
        ("AB", "BA", 0.1),
        ("AB", "A B", 1.0),
        ("ab", "ba", 1.0),
        (r"\sqrt{12}", r"2\sqrt{3}", 1.0),
        (r"\sqrt{x}", "x^{1/2}", 1.0),
        ("|x|", r"\sqrt{x^2}", 1.0),
        (r"\cos\theta + i\sin\theta", r"e^{i\theta}", 1.0),
        (r"\frac{e^x+e^{-x}}{2}", r"\cosh x", 1.0),
        (r"\cosh x", r"\frac{e^x+e^{-x}}{2}", 1.0),
        ("1", r"\sin^2 x + \cos^2 x", 1.0),
        ("2", r"\sin^2 x + \cos^2 x", 0.1),
        ("x - x + 1", "1", 0.1),  # a letter that the gold lacks is left to be cancelled
        ("x - x + 2", "1", 0.1),
        (r"1\frac{1207}{4}", r"\frac{1207}{4}", 0.1),
        (r"1\frac{1207}{4}", r"\frac{1211}{4}", 1.0),
        (r"\frac{429}4{2}", r"\frac{429}{2}", 0.1),
        ("5!!", "5!!", 1.0),
    ],
)
def test_what_is_arithmetic_notation_or_an_identity_is_judged_by_its_value(
    answer: str, gold: str, expected: float
) -> None:
    assert scored(answer, gold) == expected
