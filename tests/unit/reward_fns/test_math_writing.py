r"""What models write round a right value: styles, units, ordinals, bases, sets, repeating decimals, boxes."""

from __future__ import annotations

import pytest

from reward_fns import compute_score
from reward_fns.math.reward import last_boxed
from reward_fns.math.style import unstyled
from reward_fns.math.units import measures_differ, unit_of, unit_words

# fmt: off
STYLES = [
    r"\boldsymbol{%}", r"\bm{%}", r"\mathbf{%}", r"\textbf{%}", r"\underline{%}", r"\textcolor{red}{%}",
    r"{\color{red}%}", r"\color{blue}{%}", r"\large{%}", r"\Huge{%}", r"{\bf{%}}", r"\fcolorbox{red}{white}{%}",
    r"\colorbox{yellow}{$%$}", r"\underline{\underline{\mathbf{%}}}", r"\text{\textbf{%}}", r"\ensuremath{%}",
    r"\fbox{%}", r"\boxed{%}", r"\textcolor[rgb]{1,0,0}{%}", r"\large %", r"{\bf %}", "<b>%</b>",
    "*%*", "**%**", "***%***", "_%_", "__%__", "`%`",
]
# fmt: on


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    ("answer", "gold", "other"),
    [("13", "13", "14"), (r"\frac{1}{2}", r"\frac12", r"\frac13"), ("(1,2)", "(1,2)", "(2,1)")],
)
def test_a_style_changes_nothing(style: str, answer: str, gold: str, other: str) -> None:
    for text, expected in ((answer, 1.0), (other, 0.1)):
        result = compute_score("math", f"<answer>{style.replace('%', text)}</answer>", {"target": gold})
        assert result["score"] == expected
        assert result["reward_error"] == 0.0


def test_styles_come_off_and_words_stay_words() -> None:
    assert unstyled(r"\mathrm{cm}^2").strip() == r"\text{cm}^2"
    assert unstyled(r"\textbf{(C)}") == r"\text{(C)}"
    assert unstyled(r"\boxed{\$36}").strip() == r"\$36"
    assert unstyled(r"x_\mathrm{1}") == "x_{1}"
    assert unstyled("2**3**2") == "2**3**2"
    assert unstyled(r"\textcolor{red") == r"\textcolor{red"
    assert unstyled(r"\boldsymbol{" * 500) == r"\boldsymbol{" * 500


ROWS = [
    (
        "15",
        ["15 m/s", "15 m/s^2", r"15 \text{ m/s}", r"15\text{m}/\text{s}", r"15\,\mathrm{m\,s^{-1}}", "15 cm", "15 mph"],
    ),
    ("15", [r"15 \frac{\text{m}}{\text{s}}", r"\approx 15", "≈ 15", r"x \approx 15", "approximately 15", r"\sim 15"]),
    ("60", ["60 km/h", "60 km/hr", "60km/h", "60 miles per hour", "60 mph"]),
    ("5", ["5 ft/s", "5th", r"5^{\text{th}}", "5^{th}", r"5\text{th}"]),
    ("3", ["3 g/mL", "3rd", r"x \equiv 3 \pmod 7", r"x \equiv 3 \pmod{7}", r"3 \pmod 7", r"17 \equiv 3 \pmod 7"]),
    ("72", [r"72^\circ\text{C}", r"72^\circ C", r"72^\circ\mathrm{C}", "72 °C", "72 degrees Celsius"]),
    ("12", ["12 sq. cm", "12 sq cm", "12 cm^2", "12 cm²", r"12\text{ sq. cm}", "12 cubic feet"]),
    (r"60\text{ miles per hour}", ["60", "60 mph", "60 mi/h"]),
    (r"12\text{ cm}^2", ["12 sq. cm", "12 square centimeters", "12"]),
    ("1", ["1st"]),
    ("21", ["21st", "21st day"]),
    ("1011_2", ["(1011)_2", r"1011_{\text{two}}", "1011_{2}", "1011", "1011_{(2)}", "1011 base 2", "1011₂"]),
    ("4130_5", ["4130_{(5)}", "4130", r"4130_{\text{five}}", r"(4130)_{5}"]),
    (r"\mathbb{R}", [r"(-\infty,\infty)", r"\R", "all real numbers", r"\text{all real numbers}", r"x \in \mathbb{R}"]),
    (r"(-\infty,\infty)", [r"\mathbb{R}", r"-\infty < x < \infty", r"\mathbf{R}", r"\{x \mid x \in \mathbb{R}\}", "ℝ"]),
    (
        r"\emptyset",
        [r"\{\}", r"\varnothing", "no solution", "No solutions", r"\text{no solution}", "∅", "the empty set"],
    ),
    (r"\{\}", [r"\emptyset", "no solution"]),
    (r"(2,\infty)", [r"\{x \mid x>2\}", r"\{x : x>2\}", r"\{x | x>2\}", r"\{x \in \mathbb{R} \mid x>2\}", "x > 2"]),
    (r"\{x \mid x>2\}", [r"(2,\infty)", "x>2", r"\{t : 2 < t\}"]),
    ("[0,1)", [r"\{x \in \mathbb{R} : 0 \le x < 1\}"]),
    (r"(-\infty,2)\cup(2,\infty)", [r"x \ne 2", r"\mathbb{R} \setminus \{2\}", r"\mathbb{R} - \{2\}"]),
    (r"(-\infty,-2)\cup(2,\infty)", [r"\{x \mid x < -2 \text{ or } x > 2\}"]),
    (r"\frac13", [r"0.\dot{3}", r"0.\dot3", r"0.\overline{3}", r"0.\bar{3}", "0.(3)"]),
    (r"\frac17", [r"0.\dot{1}4285\dot{7}"]),
    (r"\frac16", [r"0.1\dot{6}"]),
    ("12,345", ["12345", r"12{,}345", "12 345", "12,345"]),
    ("100, 200", ["200, 100", "100,200"]),
    (r"\{2,3\}", ["{2,3}", "{3, 2}"]),
]
WRONG = [
    (r"15\text{ m/s}", ["15 km/h", "15 m/s^2", "15 m", "16 m/s"]),
    ("15", [r"\approx 16", "15 or more", "16 m/s"]),
    ("5", ["6th", "5nd", "5d", "5 choose 2"]),
    (r"12\text{ cm}^2", ["12 cm", "12 sq. m", "12 cubic cm"]),
    (r"72^\circ\text{C}", [r"72^\circ\text{F}", r"71^\circ\text{C}"]),
    ("1011_2", ["(1010)_2", "1011_3", r"1011_{\text{three}}", "11"]),
    ("3", [r"x \equiv 4 \pmod 7", r"x \equiv 10 \pmod 7", r"17 \equiv 3 \pmod 5", r"10 \pmod 7"]),
    (r"x \equiv 3 \pmod 7", [r"x \equiv 3 \pmod 5", "4"]),
    (r"\mathbb{R}", [r"(0,\infty)", r"\mathbb{Z}", "all positive real numbers", r"\emptyset"]),
    (r"\emptyset", ["0", r"\{0\}", r"\{\emptyset\}", r"\mathbb{R}"]),
    (r"(2,\infty)", [r"\{x \mid x \ge 2\}", r"\{x \mid x < 2\}", r"\{2\}"]),
    (r"(-\infty,2)\cup(2,\infty)", [r"\mathbb{R} \setminus \{3\}", r"\mathbb{R}", r"x = 2"]),
    (r"\frac13", [r"0.\dot{4}", "0.3", r"0.0\dot{3}"]),
    ("1,000", ["1, 0", "1 and 0"]),
    ("12,345", ["345, 12", r"\{12, 345\}", "{12, 345}", "12 and 345", "x=12, y=345"]),
]


@pytest.mark.parametrize(("answer", "gold"), [(answer, gold) for gold, answers in ROWS for answer in answers])
def test_usual_writings_of_a_right_answer_earn_full_marks(answer: str, gold: str) -> None:
    result = compute_score("math", f"</think><answer>{answer}</answer>", {"target": gold})
    assert (result["score"], result["reward_error"]) == (1.0, 0.0)
    assert compute_score("math", f"$\\boxed{{{answer}}}$", {"target": gold}, answer_format="boxed")["score"] == 1.0


@pytest.mark.parametrize(("answer", "gold"), [(answer, gold) for gold, answers in WRONG for answer in answers])
def test_the_same_writings_of_another_answer_earn_the_format(answer: str, gold: str) -> None:
    result = compute_score("math", f"</think><answer>{answer}</answer>", {"target": gold})
    assert (result["score"], result["reward_error"]) == (0.1, 0.0)


@pytest.mark.parametrize(
    ("response", "gold", "expected"),
    [
        (r"\fbox{8}", "8", 1.0),
        (r"\fbox{7}", "8", 0.1),
        (r"Put it in \boxed{}. Answer: \boxed{8}", "8", 1.0),
        ("\\boxed{8}\n\\boxed{}", "8", 1.0),
        ("\\boxed{8}\n\\boxed{...}", "8", 1.0),
        (r"\boxed{} \boxed{7}", "8", 0.1),
        (r"\boxed{}", "8", 0.0),
        (r"\boxed{\emptyset}", r"\{\}", 1.0),
        (r"\boxed{\{\}}", r"\emptyset", 1.0),
        (r"The roots are $\boxed{3}$ and $\boxed{5}$.", "3, 5", 1.0),
        (r"The roots are $\boxed{5}$ and $\boxed{3}$.", "3, 5", 1.0),
        (r"$\boxed{3}$, $\boxed{5}$ or $\boxed{7}$", r"\{3, 5, 7\}", 1.0),
        (r"$\boxed{3}$ and $\boxed{5}$", "3", 0.1),
        (r"$\boxed{3}$ and $\boxed{5}$", "3, 5, 7", 0.1),
        (r"$\boxed{3}$ and $\boxed{6}$", "3, 5", 0.1),
        (r"$\boxed{5}$ and $\boxed{3}$", "(3, 5)", 0.1),
        (" ".join(rf"\boxed{{{k}}}" for k in range(20)), "3, 5", 0.1),
    ],
)
def test_boxes_that_are_empty_framed_or_two(response: str, gold: str, expected: float) -> None:
    assert compute_score("math", response, {"target": gold}, answer_format="boxed")["score"] == expected


def test_an_echoed_empty_block_is_no_answer_of_its_own() -> None:
    for response in ("<answer></answer> <answer>7</answer>", "<answer>7</answer> <answer> </answer>"):
        assert compute_score("math", response, {"target": "7"})["score"] == 1.0
    assert compute_score("math", "<answer>{}</answer>", {"target": r"\emptyset"})["score"] == 1.0
    assert last_boxed(r"\boxed{8} and \boxed{}") == "8"
    assert last_boxed(r"\boxed{}") == ""


def test_units_have_one_spelling() -> None:
    spelled = {
        text: unit_of(unit_words(text)) for text in ("sq. ft", "square feet", r"\text{ft}^2", "km per hour", "kph")
    }
    assert set(spelled.values()) == {"ft^2", "km/h"}
    assert measures_differ("m/s", "km/h")
    assert measures_differ("cm", "cm^2")
    assert not measures_differ("apples", "cm")
    assert not measures_differ("", "cm")
