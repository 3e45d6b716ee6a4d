r"""What public reports found here: tables of (answer, gold, score), and what was right and has to stay so.

Each row is judged as a run judges it, between tags and in a box.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from reward_fns import compute_score

Row = tuple[str, str, float]

QUESTIONS: list[Row] = [
    (r"7^{2024} \mod 10", "1", 0.1),
    (r"2004^{2004} \mod 7", "1", 0.1),
    (r"3^{1000} \mod 1000", "1", 0.1),
    (r"17 \mod 5", "2", 0.1),
    (r"17 \bmod 5", "2", 0.1),
    (r"17 \pmod 5", "2", 0.1),
    (r"(13^{13}+5) \mod 6", "0", 0.1),
    (r"\frac{d}{dx}(5x)", "5", 0.1),
    (r"\frac{d}{dx} x^2", "2x", 0.1),
    (r"\frac{\partial}{\partial x}(x^2 y)", "2xy", 0.1),
    (
        r"\begin{pmatrix}1&2\\3&4\end{pmatrix}\begin{pmatrix}1\\1\end{pmatrix}",
        r"\begin{pmatrix}3\\7\end{pmatrix}",
        0.1,
    ),
    ("A+B", r"\begin{pmatrix}3\\7\end{pmatrix}", 0.1),
    ("A^T", r"\begin{pmatrix}3\\7\end{pmatrix}", 0.1),
]
NAMES: list[Row] = [
    ("y=3, x=4", "(3,4)", 0.1),
    ("z=3,y=4,x=5", "(3,4,5)", 0.1),
    ("b = 3, a = 4", "(3,4)", 0.1),
    ("y=4, x=3", "(3,4)", 1.0),
    ("x=3, y=4", "(3,4)", 1.0),
    ("4, 3", "x=3, y=4", 0.1),
    ("3, 4", "x=3, y=4", 1.0),
    ("4 and 3", "a=3, b=4", 0.1),
    ("(3,4)", "x=3, y=4", 1.0),
    ("(4,3)", "x=3, y=4", 0.1),
    ("(3,4)", "y=4, x=3", 1.0),
    (r"\{3,4\}", "x=3, y=4", 0.1),
    ("y=4, x=3", "x=3, y=4", 1.0),
    ("y=3, x=4", "x=3, y=4", 0.1),
    ("a=3, b=4", "x=3, y=4", 0.1),
    ("(y,x)=(4,3)", "(3,4)", 1.0),
    ("(y,x)=(3,4)", "(3,4)", 0.1),
    ("(x,y)=(4,3)", "x=3, y=4", 0.1),
    (r"x=3 \text{ and } y=4", "(3,4)", 1.0),
    ("k=4, h=3", "(3,4)", 1.0),
    ("n=3, m=4", "(3,4)", 0.1),
    ("x_2=3, x_1=2", "(2,3)", 1.0),
    ("x_2=2, x_1=3", "(2,3)", 0.1),
    (r"\theta=\frac{\pi}{2}, r=3", r"\left(3, \frac{\pi}{2}\right)", 1.0),
    ("y=4, x=3", r"\begin{pmatrix}3\\4\end{pmatrix}", 1.0),
    ("y=3, x=4", r"\begin{pmatrix}3\\4\end{pmatrix}", 0.1),
    (r"\begin{cases} x=3 \\ y=4 \end{cases}", "(3,4)", 1.0),
    (r"\begin{cases} y=4, \\ x=3 \end{cases}", "(3,4)", 1.0),
    (r"\begin{cases} x=4 \\ y=3 \end{cases}", "(3,4)", 0.1),
    (r"\left\{\begin{array}{l} x=3 \\ y=4 \end{array}\right.", "(3,4)", 1.0),
    ("x=3, y=4", "[3,4]", 0.1),
    ("y=3, x=4", r"\{3,4\}", 1.0),
    ("4, 3", r"\{3,4\}", 1.0),
    ("x=2, x=3", "3, 2", 1.0),
    (r"\{(3,4)\}", "(3,4)", 1.0),
    ("((3,4))", "(3,4)", 1.0),
]
CLAIMS: list[Row] = [
    ("5! = 120", "120", 1.0),
    (r"\binom{10}{3} = 120", "120", 1.0),
    (r"\log_2 8 = 3", "3", 1.0),
    (r"\sqrt{16} = 4", "4", 1.0),
    (r"\sin 30^\circ = \frac{1}{2}", r"\frac{1}{2}", 1.0),
    (r"\sum_{k=1}^{4} k = 10", "10", 1.0),
    (r"\gcd(12,18) = 6", "6", 1.0),
    (r"\int_0^1 2x\,dx = 1", "1", 1.0),
    (r"\lim_{x \to 0} \frac{\sin x}{x} = 1", "1", 1.0),
    (r"\frac{d}{dx} x^2 = 2x", "2x", 1.0),
    (r"\begin{vmatrix}1&2\\3&4\end{vmatrix} = -2", "-2", 1.0),
    (r"A^{-1} = \begin{pmatrix}1&3\\2&4\end{pmatrix}", r"\begin{pmatrix}1&3\\2&4\end{pmatrix}", 1.0),
    (r"\vec{v} = (1,2)", "(1,2)", 1.0),
    ("f(2) = 5", "5", 1.0),
    ("f(f(2)) = 5", "5", 1.0),
    ("f(2) + f(3) = 9", "9", 1.0),
    ("f^{-1}(x) = 2x+1", "2x+1", 1.0),
    ("f'(x) = 2x", "2x", 1.0),
    (r"P(X>3) = \frac{1}{2}", r"\frac{1}{2}", 1.0),
    (r"P(A \cap B) = 0.2", "0.2", 1.0),
    (r"\Pr(X=3) = 0.5", "0.5", 1.0),
    (r"\mathbb{E}[X] = 3", "3", 1.0),
    ("[ABC] = 24", "24", 1.0),
    (r"\text{Area} = 12", "12", 1.0),
    ("2^5 = 32", "32", 1.0),
    (r"10 \times 12 = 120", "120", 1.0),
    ("f(x) = 5", "5", 1.0),
    ("AB = 5", "5", 1.0),
    ("x^2 + y^2 = 25", "25", 1.0),
    ("120 = 5!", "120", 1.0),
    ("x = 5! = 120", "120", 1.0),
    (r"10\sqrt{2} \approx 14.14", r"10\sqrt{2}", 1.0),
    (r"10\sqrt{2} \approx 14.14", "14.14", 1.0),
    (r"10\sqrt{2} \approx 15", r"10\sqrt{2}", 0.1),
    ("5! = 121", "121", 0.1),
    ("121 = 5!", "121", 0.1),
    ("5! = 120 = 121", "121", 0.1),
    (r"\log_2 8 = 4", "4", 0.1),
    (r"\sqrt{16} = 5", "5", 0.1),
    (r"\sum_{k=1}^{4} k = 11", "11", 0.1),
    (r"\int_0^1 2x\,dx = 2", "2", 0.1),
    (r"\gcd(12,18) = 7", "7", 0.1),
    (r"\frac{d}{dx} x^2 = 3x", "3x", 0.1),
    (r"\begin{vmatrix}1&2\\3&4\end{vmatrix} = 2", "2", 0.1),
    ("5! = 120", "121", 0.1),
    ("f(2) = 6", "5", 0.1),
    (r"17 \mod 5 = 17 \mod 5", "2", 0.1),
    ("2x = 10", "10", 0.1),
    ("2x - y = 5", "5", 0.1),
    ("x(x+1) = 6", "6", 0.1),
    ("3 = 5", "5", 0.1),
    ("7 because 3+4=8", "8", 0.1),
]
# Nothing of this was wrong.
RIGHT: list[Row] = [
    ("1e-20", "1e-21", 0.1),
    (r"10^{-20}", r"\frac{1}{10^{20}}", 1.0),
    ("n=2,3,4", "2,3,4", 1.0),
    ("n=2,3", "2,3,4", 0.1),
    (r"x = 3 \pm \sqrt{2}", r"3+\sqrt2, 3-\sqrt2", 1.0),
    (r"3 + \sqrt{2}", r"3 \pm \sqrt2", 0.1),
    ("12:00", "12:00", 1.0),
    ("12:30", "12:00", 0.1),
    (r"\frac{n(n+1)}{2}", r"\frac{n^2+n}{2}", 1.0),
    ("1 1/4", r"\frac{5}{4}", 1.0),
    ("4 10/3", r"\frac{22}{3}", 1.0),
    (r"-2\frac{1}{2}", "-2.5", 1.0),
    ("1 1/4", r"\frac{11}{4}", 0.1),
    ("x<3", r"(-\infty,3)", 1.0),
    (r"(-\infty,3)", "x<3", 1.0),
    (r"x \le 3", r"(-\infty,3]", 1.0),
    (r"x \le 3", r"(-\infty,3)", 0.1),
    (r"(-\infty,3]", "x<3", 0.1),
    (r"\sqrt{\frac{1}{n}}", r"\frac{1}{\sqrt{n}}", 1.0),
    ("2x - y + 3 = 0", "y = 2x + 3", 1.0),
    ("y = 2x + 4", "y = 2x + 3", 0.1),
    ("**73**", "73", 1.0),
    ("80,000", "80000", 1.0),
    (r"80{,}000", "80,000", 1.0),
    (r"80\,000", "80,000", 1.0),
    ("80 000", "80,000", 1.0),
    ("80,000", "80", 0.1),
    ("-42", "-42", 1.0),
    ("42", "-42", 0.1),
    ("12000", "12,000", 1.0),
    ("12", "12,000", 0.1),
]


@pytest.mark.parametrize(("answer", "gold", "expected"), [*QUESTIONS, *NAMES, *CLAIMS, *RIGHT])
def test_rows_of_the_reports(answer: str, gold: str, expected: float) -> None:
    for response, answer_format in (
        (f"</think><answer>{answer}</answer>", "tags"),
        (f"$\\boxed{{{answer}}}$", "boxed"),
    ):
        result = compute_score("math", response, {"target": gold}, answer_format=answer_format)  # type: ignore[arg-type]
        assert (result["score"], result["reward_error"], result["timeout"]) == (expected, 0.0, 0.0), answer_format


@pytest.mark.parametrize("around", [3_000, 2_000_000])
def test_much_text_around_an_answer_changes_nothing(around: int) -> None:
    text = "and so on. " * (around // 11)
    assert compute_score("math", f"{text}</think><answer>7</answer>{text}", {"target": "7"})["score"] == 1.0
    boxed = compute_score("math", f"{text}\n$\\boxed{{7}}$ {text}", {"target": "7"}, answer_format="boxed")
    assert boxed["score"] == 1.0


def test_a_number_outside_tags_or_boxes_is_no_answer() -> None:
    for answer_format in ("tags", "boxed"):
        result = compute_score("math", "It is 7.", {"target": "7"}, answer_format=answer_format)  # type: ignore[arg-type]
        assert result["score"] == 0.0


def test_verdicts_of_threads_are_those_of_the_main_thread() -> None:
    rows = [*NAMES, *CLAIMS[:8], *RIGHT]
    with ThreadPoolExecutor(4) as pool:
        scores = list(
            pool.map(lambda row: compute_score("math", f"<answer>{row[0]}</answer>", {"target": row[1]})["score"], rows)
        )
    assert scores == [expected for _, _, expected in rows]
