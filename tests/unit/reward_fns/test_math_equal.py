"""Equality of mathematical answers: exact values, structure, units, and no way to make the comparison explode."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reward_fns.math.equal import check_gold, equivalent, normal_form, quick
from reward_fns.math.expression import Unreadable, parse
from reward_fns.math.text import clean
from reward_fns.math.value import evaluate
from tests.helpers.timing import quickest

fractions = st.fractions(min_value=-500, max_value=500, max_denominator=60)


def equal(answer: str, gold: str) -> bool:
    decision = quick(answer, gold)
    assert decision is not None, f"left open: {answer!r} and {gold!r}"
    return bool(decision["equal"])


def latex(value: Fraction) -> str:
    sign = "-" if value < 0 else ""
    return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


@given(fractions, fractions)
def test_numbers_are_equal_exactly_if_their_values_are(a: Fraction, b: Fraction) -> None:
    for written in (
        latex(a),
        f"{a.numerator}/{a.denominator}",
        rf"$\dfrac{{{a.numerator * 3}}}{{{a.denominator * 3}}}$",
    ):
        assert equal(written, latex(a))
        assert equal(written, latex(b)) is (a == b)


@given(st.integers(-(10**9), 10**9), st.integers(0, 6))
def test_decimals_are_exact(number: int, places: int) -> None:
    value = Fraction(number, 10**places)
    decimal = f"{'-' if number < 0 else ''}{abs(number) // 10**places}.{abs(number) % 10**places:0{max(places, 1)}d}"
    if places == 0:
        decimal = f"{number}.0"
    assert equal(decimal, latex(value))
    assert not equal(decimal + "1", latex(value))
    assert equal(f"{number:,}", str(number))


polynomials = st.lists(st.integers(-9, 9), min_size=2, max_size=4)


def polynomial(coefficients: list[int], product: str, power: str) -> str:
    return " + ".join(f"({c}){product}x{power.replace('n', str(k))}" for k, c in enumerate(coefficients))


@given(polynomials, st.integers(0, 3), st.integers(-3, 3))
def test_polynomials_are_equal_exactly_if_their_coefficients_are(a: list[int], place: int, change: int) -> None:
    b = list(a)
    b[place % len(b)] += change
    assert equal(polynomial(a, " ", "^{n}"), polynomial(b, r" \cdot ", "^n")) is (a == b)


@given(st.lists(fractions, min_size=2, max_size=5, unique=True), st.randoms())
def test_sets_have_no_order_and_tuples_do(values: list[Fraction], order: object) -> None:
    shuffled = list(values)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    text, mixed = (", ".join(map(latex, numbers)) for numbers in (values, shuffled))
    assert equal(rf"\{{{mixed}\}}", text)
    assert equal(mixed, rf"\{{{text}\}}")
    assert equal(f"({mixed})", f"({text})") is (values == shuffled)
    assert not equal(mixed, latex(values[0]))
    assert not equal(text, text + r", \frac{1}{61}")


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        (r"\pi", "3.14", True),
        (r"\pi", "3.142", True),
        (r"\pi", "3.1", False),
        ("3.14", r"\pi", False),
        (r"\frac{2}{3}", "0.667", True),
        ("0.667", r"\frac{2}{3}", False),
        (r"\frac{27}{8}", "3.38", False),
        ("3.375", "3.38", False),
        ("1e-20", "1e-21", False),
        (r"10^{-20}\pi", r"10^{-21}\pi", False),
        (r"\sqrt{2}\cdot\sqrt{3}", r"\sqrt{6}", True),
        (r"\sqrt{2+\sqrt{3}}", r"\frac{\sqrt{6}+\sqrt{2}}{2}", True),
        (r"\sqrt{2+\sqrt{3}}", r"\frac{\sqrt{6}+\sqrt{2}}{2} + 10^{-30}", False),
        ("x", "|x|", False),
        (r"\ln(ab)", r"\ln a + \ln b", True),
        (r"\frac{dx}{dt}", r"\frac{x}{t}", None),
        ("2 3", "6", False),
        ("23", "2 3", False),
        ("1.2.3", "123", False),
        ("5 m", "5m", True),
        ("5 m", "5", True),
        ("5m", "5", False),
        ("5 m", "5 cm", False),
        (r"5\text{ cm}^2", "5 cm", False),
        ("36 dollars", r"36^\circ", False),
        ("0.5%", r"50\%", False),
        ("50%", "0.5", True),
        ("50", r"50\%", True),
        ("4130", "4130_5", True),
        ("4130_5", "4130", False),
        ("2x - y = -3", "y = 2x + 3", True),
        ("y = 2x - 3", "y = 2x + 3", False),
        ("3 = 5", "5", False),
        ("x = 3 = 5", "5", False),
        ("2x - y = 5", "5", False),
        ("[0,1)", r"0 \le x < 1", True),
        ("(0,1)", r"0 \le x < 1", False),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "(1,2)", True),
        (r"\begin{pmatrix} 2 \\ 1 \end{pmatrix}", "(1,2)", False),
        (r"\begin{pmatrix} 1 & 3 \\ 2 & 4 \end{pmatrix}", r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", False),
        ("70,110", "70110", True),
        ("70, 110", "70,110", True),
        ("70, 110", "70110", False),
        ("MAKE", r"\text{KAME}", False),
        ("make", r"\text{MAKE}", True),
        (r"\int_0^1 2x\,dx", "1", False),
        (r"\sin 30^\circ", r"\frac{1}{2}", False),
        (r"\binom{8}{4}", "70", False),
        (r"\binom{8}{4}", r"\frac{8!}{4!4!}", True),
        (r"\sqrt{16}", "4", False),
        (r"\frac{\sqrt{4}}{\sqrt{2}}", r"\sqrt{2}", True),
        (r"\sqrt[3]{2}", "2^{1/3}", True),
        (r"\sin 60^\circ", "0.866", False),
        ("2x = 10", "x = 5", False),
        (r"\int_0^1 2x\,dx", r"\int_0^1 3x^2\,dx", None),
    ],
)
def test_what_equals_what(answer: str, gold: str, expected: bool | None) -> None:
    decision = quick(answer, gold)
    assert (None if decision is None else decision["equal"]) is expected


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        ("1", r"\int_0^1 2x\,dx", True),
        ("1", r"\int_0^1 3x\,dx", False),
        (r"\int_0^1 3x^2\,dx", r"\int_0^1 2x\,dx", True),
        (r"\int_0^1 4x\,dx", r"\int_0^1 2x\,dx", False),
        ("0.25", r"\int_0^1 0.5x\,dx", True),
        ("0.250001", r"\int_0^1 0.5x\,dx", False),
        (r"3, \sum_{k=1}^{4} k", r"\sum_{k=1}^{4} k, 3", True),
        ("10, 4", r"\sum_{k=1}^{4} k, 3", False),
        (r"\int_0^1 2x\,dx", "1", False),
        ("7 because 3+4=8", "8", False),
        ("1/2", "0.5", True),
    ],
)
def test_formulas_outside_the_grammar_go_to_math_verify(answer: str, gold: str, expected: bool) -> None:
    assert equivalent(answer, gold)["equal"] is expected


TOWERS = ["98**87**9", "10^{10^{10}}", "9^{9^{9^{9}}}", "99999999!", "(99!)!", r"\binom{9999999}{999999}", "1e99999"]
LONG = ["(" * 400 + "1" + ")" * 400, r"\sqrt{" * 150 + "1", "9" * 10**6, "-" * 900, "x^{99}" * 150, "1," * 400 + "1"]


@pytest.mark.parametrize(
    "bomb", [*TOWERS, *LONG, "((99^999999)^999999)^999999", r"\sin(9^{999999})", "\x00", "\u202e7"]
)
@pytest.mark.parametrize("gold", ["7", "x^2", r"\{1,2\}", r"\int_0^1 x\,dx"])
def test_no_answer_stalls_the_comparison(bomb: str, gold: str) -> None:
    assert quickest(lambda: quick(bomb, gold), 0.5) < 0.5
    decision = quick(bomb, gold)
    assert decision is None or decision["equal"] is False
    if bomb in TOWERS:
        assert quickest(lambda: equivalent(bomb, gold), 3) < 3
        assert equivalent(bomb, gold)["equal"] is False


signs = st.sampled_from(
    [*"0123456789+-*/^_=<>()[]{}|!%,.:; \\$xeid√²∞", r"\frac", r"\sqrt", r"\text{", r"\pm", r"\{", "or"]
)


@settings(max_examples=300)
@given(st.lists(signs, max_size=40).map("".join), st.sampled_from(["7919.5", r"\text{Dana}", "x^2+17"]))
def test_garbage_is_never_an_error_and_never_equal_by_chance(text: str, gold: str) -> None:
    decision = quick(text, gold)
    assert decision is None or decision["readable"] or not decision["equal"]
    if decision and decision["equal"]:
        assert "7919" in text or "x" in text


def test_values_of_expressions() -> None:
    values = {
        r"2\frac{1}{3}": Fraction(7, 3),
        r"-\frac12": Fraction(-1, 2),
        "2^{-3}": Fraction(1, 8),
        "-3^2": Fraction(-9),
    }
    values |= {"(1+2)(3-5)": Fraction(-6), "6/2*3": Fraction(9), r"0.1\overline{6}": Fraction(1, 6), "4!": Fraction(24)}
    assert {text: evaluate(parse(text), {}) for text in values} == values
    for text in ("", "2 3", "1+", "(1", "2^3^4", "a'", r"\frac{1}", "1..2", "*3"):
        with pytest.raises(Unreadable):
            parse(text)


def test_cleaning_keeps_the_answer_and_refuses_what_is_none() -> None:
    assert clean(r" $\dfrac{1}{2}\,\text{cm}.$ ") == r"\frac{1}{2} \text{cm}"
    assert clean("１２，３") == "12, 3"
    assert normal_form("The sum is $4 2$.") == "4 2"
    for nothing in ("", " ", "$$", "...", "7\u200b", "٧", "7" * 1001):
        assert clean(nothing) is None


@pytest.mark.parametrize("gold", ["", " ", "$ $", r"\frac{1}{2", "9" * 1001, "7\x00", "word " * 50])
def test_golds_that_no_response_could_give_are_refused(gold: str) -> None:
    with pytest.raises(ValueError, match="gold answer"):
        check_gold(gold)
    assert not (quick(gold, gold) or {"equal": False})["equal"] or gold == "word " * 50 or gold == r"\frac{1}{2"


@pytest.mark.parametrize(
    "gold", ["7", r"\text{Dana}", r"\frac{dx}{dt} = kx", "(-7, 10)", r"\emptyset", "ABC", "2n, n odd"]
)
def test_golds_that_a_response_could_give_are_accepted(gold: str) -> None:
    check_gold(gold)
