r"""Random mathematical answers with verdicts known from how they were made, and hostile ones that must do no harm.
Example: the number 3/4 as gold "\frac{3}{4}", and as answer "0.75" (correct), "$\dfrac{6}{8}$" (correct) or "-0.75"."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction

from reward_fns.trials import Label, Trial

_FRAMES = ("<answer>{}</answer>", "done. </think>\n<answer> {} </answer>\n", "<answer>\n{}\n</answer> That is all.")
_WRAPS = ("{}", "{}", "${}$", "\\boxed{{{}}}", "The answer is {}.", "\\({}\\)", "$$ {} $$", "$\\boxed{{{}}}$")


def sample(draw: random.Random) -> Trial:
    """One trial: equal or different answers, hedging, garbage or an attack."""
    kind = draw.choice(
        (_number, _polynomial, _collection, _number, _polynomial, _collection, _garbage, _attack, _hedge)
    )
    return kind(draw)


def _trial(draw: random.Random, answer: str, gold: str, label: Label, why: str) -> Trial:
    wrapped = draw.choice(_WRAPS).format(answer)
    return Trial(draw.choice(_FRAMES).replace("{}", wrapped), {"target": gold}, label, why)


def _fraction(draw: random.Random) -> Fraction:
    return Fraction(draw.randint(-60, 60), draw.choice((1, 1, 1, 2, 3, 4, 5, 7, 8, 9, 12, 20, 25)))


def _written(draw: random.Random, value: Fraction) -> str:
    """The number in one of its exact notations."""
    sign, size = ("-" if value < 0 else ""), abs(value)
    forms = []
    scale = draw.randint(2, 5)
    above, below = size.numerator, size.denominator
    forms.append(rf"{sign}\frac{{{above}}}{{{below}}}" if below > 1 else f"{sign}{above}")
    forms.append(rf"{sign}\dfrac{{{above * scale}}}{{{below * scale}}}")
    forms.append(f"{sign}{above}/{below}" if below > 1 else f"{sign}{above}")
    if 100 % below == 0:
        forms.append(f"{sign}{above * 100 // below // 100}.{above * 100 // below % 100:02d}")
    if below > 1 and size > 1:
        forms.append(rf"{sign}{above // below}\frac{{{above % below}}}{{{below}}}")
    if below == 1 and size >= 1000:
        forms.append(f"{sign}{above:,}")
    return draw.choice(forms)


def _number(draw: random.Random) -> Trial:
    value = _fraction(draw) * draw.choice((1, 1, 1, 1000))
    if draw.random() < 0.5:
        return _trial(draw, _written(draw, value), _written(draw, value), "correct", "one number in two notations")
    other = value + draw.choice((1, -1, 10, Fraction(1, 3), Fraction(1, 100))) if draw.random() < 0.7 else -value
    label: Label = "correct" if other == value else "wrong"
    return _trial(draw, _written(draw, other), _written(draw, value), label, "another number")


def _terms(draw: random.Random, coefficients: dict[int, int]) -> str:
    powers = [power for power in coefficients if coefficients[power]]
    draw.shuffle(powers)
    text = ""
    for power in powers:
        size = abs(coefficients[power])
        letter = {0: "", 1: "x"}.get(power, draw.choice((f"x^{power}", f"x^{{{power}}}")))
        factor = "" if size == 1 and power else str(size) + (draw.choice(("", " ", "*", r" \cdot ")) if power else "")
        sign = "-" if coefficients[power] < 0 else "+" if text else ""
        text += draw.choice((f"{sign}", f" {sign} ")) + factor + letter
    return text.strip() or "0"


def _polynomial(draw: random.Random) -> Trial:
    a, b, c, d = (draw.choice((-5, -3, -2, -1, 1, 2, 3, 7)) for _ in range(4))
    product = {2: a * c, 1: a * d + b * c, 0: b * d}
    factored = f"({_terms(draw, {1: a, 0: b})})({_terms(draw, {1: c, 0: d})})"
    gold = draw.choice((_terms(draw, product), factored))
    if draw.random() < 0.5:
        return _trial(draw, draw.choice((_terms(draw, product), factored)), gold, "correct", "one polynomial twice")
    power = draw.choice((0, 1, 2))
    changed = product | {power: product[power] + draw.choice((-2, -1, 1, 2))}
    return _trial(draw, _terms(draw, changed), gold, "wrong", "a polynomial with one other coefficient")


def _collection(draw: random.Random) -> Trial:
    values = list({_fraction(draw) for _ in range(draw.randint(2, 5))} | {Fraction(99), Fraction(98)})
    gold = ", ".join(_written(draw, value) for value in values)
    fences = draw.choice((("", ""), (r"\{", r"\}"), ("(", ")")))
    ordered = fences == ("(", ")")
    shown = list(values)
    label: Label = "correct"
    change = draw.choice(("none", "none", "other", "missing", "more", "order"))
    if change == "order":
        shown = shown[1:] + shown[:1]
        label = "wrong" if ordered else "correct"
    elif change == "other":
        shown[draw.randrange(len(shown))] += 1000
        label = "wrong"
    elif change == "missing":
        shown.pop()
        label = "wrong"
    elif change == "more":
        shown.append(Fraction(97))
        label = "wrong"
    answer = ", ".join(_written(draw, value) for value in shown)
    return _trial(
        draw, fences[0] + answer + fences[1], fences[0] + gold + fences[1], label, f"a collection, change: {change}"
    )


def _hedge(draw: random.Random) -> Trial:
    value = draw.randint(1, 50)
    others = draw.sample(range(51, 99), draw.randint(1, 20))
    candidates = [str(number) for number in (*others, value)]
    draw.shuffle(candidates)
    if draw.random() < 0.5:
        text = draw.choice((", ", " or ", "; ", " and ", "\\text{ or }")).join(candidates)
        return _trial(draw, text, str(value), "wrong", "the right number among others")
    blocks = "".join(f"<answer>{candidate}</answer>" for candidate in candidates)
    return Trial(blocks, {"target": str(value)}, "wrong", "the right number in one of several blocks")


_SIGNS = (
    *"0123456789+-*/^_=<>()[]{}|!%,.;:$&#~'\" \n\t\\abcxyzABC",
    *("\\frac", "\\sqrt", "\\left(", "\\right)", "\\{", "\\}", "\\begin{pmatrix}", "\\end{pmatrix}", "\\\\", "\\cup"),
    *(
        "\\infty",
        "\\pm",
        "\\pi",
        "\\text{",
        "\\boxed{",
        "\\int",
        "\\sum_{",
        "\\lim",
        "^\\circ",
        "\\le",
        "\\in",
        "\\mid",
    ),
    *("<answer>", "</answer>", "</think>", "\x00", "\u202e", "\u200b", "\ud800", *"１٣²√∞½−é"),
)


def _garbage(draw: random.Random) -> Trial:
    text = "".join(draw.choice(_SIGNS) for _ in range(draw.choice((5, 20, 80))))
    gold = draw.choice(("123456.789", r"\frac{12345}{6789}", r"\text{Monday}", r"\{101,202,303\}"))
    return Trial(f"<answer>{text}</answer>", {"target": gold}, "not correct", "random signs")


_ATTACKS: tuple[Callable[[int], str], ...] = (
    lambda n: "98**87**9",
    lambda n: "10^{10^{10}}",
    lambda n: "9^" * n + "9",
    lambda n: "9^{" * n + "9" + "}" * n,
    lambda n: "(" * n + "9" + ")" * n,
    lambda n: "{" * n + "7" + "}" * (n - 1),
    lambda n: "-" * n + "8",
    lambda n: "9" * n + "!",
    lambda n: "9" + "!" * n,
    lambda n: "((99^999999)^999999)^999999",
    lambda n: r"\sin(" * n + "1" + ")" * n,
    lambda n: r"\sqrt{" * n + "5" + "}" * n,
    lambda n: r"\frac{1}{" * n + "0" + "}" * n,
    lambda n: r"\frac{d}{dx}" * (n // 10) + "x^{99^{99}}",
    lambda n: r"\int_0^{1} " * (n // 10) + r"x^{9^{9^{9}}} dx",
    lambda n: r"\sum_{k=1}^{10^{10}} k^{k}",
    lambda n: "x^{99999}" * (n // 10),
    lambda n: "+".join(f"x_{k}^{{{k}}}" for k in range(n // 8)),
    lambda n: ",".join(str(k) for k in range(n)),
    lambda n: r"\begin{pmatrix}" * n,
    lambda n: "<answer>" * n + "5" + "</answer>" * n,
    lambda n: "\\boxed{" * n + "5",
    lambda n: "1e" + "9" * min(n, 400),
    lambda n: "0." + "0" * n + "1",
    lambda n: "7" * 1_000_000,
    lambda n: "the answer is " * n + "6",
    lambda n: r"\binom{999999}{99999}",
    lambda n: "2^{-999999} x^{999999}",
)


def _attack(draw: random.Random) -> Trial:
    text = draw.choice(_ATTACKS)(draw.choice((3, 30, 300, 3000)))
    gold = draw.choice(("123456.789", r"\frac{12345}{6789}", "x^2+x+41", r"\{101,202,303\}", r"\int_0^1 x\,dx"))
    return Trial(f"<answer>{text}</answer>", {"target": gold}, "not correct", "an attack on time or memory")
