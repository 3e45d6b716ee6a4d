r"""The operations that an answer must have carried out: one table for the grammar, the rule, the docs and the tests.
Example: \binom{8}{4} leaves "counting" undone, so it is not an answer if the gold is 70."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operator:
    """One kind of work. functions: its names in the grammar, \\log for "log". nodes: other tree nodes of this kind.
    examples: (an expression that is not worked out, its value), shown in the docs and judged in the tests.

    A kind without functions and nodes is outside the grammar, where nothing counts as worked out (equal.py).
    """

    kind: str
    examples: tuple[tuple[str, str], ...]
    functions: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()


_SQUARE = r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}"
_ONES = r"\begin{pmatrix} 1 \\ 1 \end{pmatrix}"

# fmt: off
OPERATORS = (
    Operator("root", (
        (r"\sqrt{16}", "4"), (r"\sqrt[3]{8}", "2"), ("8^{1/3}", "2"), ("16^{0.5}", "4"), (r"\sqrt{x^4}", "x^2"),
    ), ("sqrt",), ("root",)),
    Operator("logarithm", (
        (r"\log_2 8", "3"), (r"\ln e^3", "3"), (r"\log 100", "2"), (r"\lg 100", "2"), (r"\frac{\ln 8}{\ln 2}", "3"),
        (r"\ln(e^{2x})", "2x"),
    ), ("ln", "log", "lg")),
    Operator("trigonometry", (
        (r"\sin 30^\circ", r"\frac{1}{2}"), (r"\cos\frac{\pi}{3}", r"\frac{1}{2}"), (r"\tan(\pi/4)", "1"),
        (r"\sec 60^\circ", "2"), (r"\sin^2 x + \cos^2 x", "1"),
    ), ("sin", "cos", "tan", "cot", "sec", "csc")),
    Operator("inverse trigonometry", (
        (r"\arcsin 1", r"\frac{\pi}{2}"), (r"\tan^{-1} 1", r"\frac{\pi}{4}"), (r"\arccos 0", r"\frac{\pi}{2}"),
    ), ("arcsin", "arccos", "arctan")),
    Operator("hyperbolic functions", (
        (r"\sinh 0", "0"), (r"\cosh 0", "1"), (r"\cosh(\ln 2)", r"\frac{5}{4}"),
    ), ("sinh", "cosh", "tanh")),
    Operator("power of e", (
        ("e^{0}", "1"), (r"e^{i\pi}", "-1"), (r"\exp(0)", "1"),
    ), ("exp",)),
    Operator("powers, products and quotients of complex numbers", (
        ("i^{2024}", "1"), ("(1+i)^4", "-4"), ("(1+i)^2", "2i"), ("(2+i)(3-i)", "7+i"), (r"\frac{25}{3+4i}", "3-4i"),
        (r"(1+i)(1+i)(1+i)(1+i)", "-4"), (r"\frac{5}{i}", "-5i"), ("(5+5i)/(2-i)", "1+3i"),
    )),
    Operator("counting", (
        ("5!", "120"), ("(3+2)!", "120"), (r"\frac{8!}{4!4!}", "70"), (r"\binom{8}{4}", "70"), (r"\dbinom84", "70"),
        (r"{8 \choose 4}", "70"), ("C(8,4)", "70"), ("{}_8C_4", "70"), ("{}^8C_4", "70"), ("5!!", "15"),
        (r"\frac{(n+1)!}{n!}", "n+1"), (r"\binom{n}{2}", r"\frac{n(n-1)}{2}"),
    ), (), ("factorial", "binom")),
    Operator("rounding and absolute value", (
        (r"|3-9|", "6"), (r"\lfloor 3.7 \rfloor", "3"), (r"\lceil 3.2 \rceil", "4"), ("|3+4i|", "5"),
    ), (), ("floor", "ceil", "abs")),
    Operator("remainder", (
        (r"17 \mod 5", "2"), (r"17 \bmod 5", "2"), (r"17 \pmod 5", "2"), (r"17 \pmod{5}", "2"), ("17 mod 5", "2"),
        (r"17 \text{ mod } 5", "2"), (r"17 \operatorname{mod} 5", "2"), (r"17 \% 5", "2"), ("17 (mod 5)", "2"),
        (r"7^{2024} \mod 10", "1"), (r"2004^{2004} \bmod 7", "1"), (r"(13^{13}+5) \mod 6", "0"),
        (r"3^{1000} \mod 1000", "1"), (r"7^{7^7} \mod 10", "3"),
    ), (), ("mod",)),
    Operator("divisors and extremes", (
        (r"\gcd(12,18)", "6"), (r"\text{lcm}(4,6)", "12"), (r"\operatorname{lcm}[4,6]", "12"), (r"\max(2,7)", "7"),
        (r"\min\{2,7\}", "2"),
    )),
    Operator("sum", (
        (r"\sum_{k=1}^{4} k", "10"), (r"\sum\limits_{k=1}^n k", r"\frac{n(n+1)}{2}"),
        (r"\sum_{n=1}^\infty \frac{1}{2^n}", "1"),
    )),
    Operator("product", (
        (r"\prod_{k=1}^{4} k", "24"), (r"\prod_{k=2}^{n} \frac{k}{k-1}", "n"),
    )),
    Operator("integral", (
        (r"\int_0^1 2x\,dx", "1"), (r"\int 2x\,dx", "x^2"), (r"\oint 0\,dz", "0"),
        (r"\int_0^1\int_0^1 4xy\,dx\,dy", "1"), (r"\iint 1\,dA", "1"),
    )),
    Operator("limit", (
        (r"\lim_{x \to 0} \frac{\sin x}{x}", "1"), (r"\lim_{n \to \infty} \frac{n+1}{n}", "1"),
        (r"\limsup_{n \to \infty} (-1)^n", "1"), (r"\sup_{x<1} x", "1"),
    )),
    Operator("derivative", (
        (r"\frac{d}{dx}(5x)", "5"), (r"\frac{d}{dx} x^2", "2x"), (r"\dfrac{d}{dx}\left(x^2\right)", "2x"),
        (r"\frac{\mathrm{d}}{\mathrm{d}x} x^2", "2x"), (r"\frac{\partial}{\partial x}(x^2 y)", "2xy"),
        (r"\frac{d^2}{dx^2} x^3", "6x"), (r"\frac{d(x^2)}{dx}", "2x"), ("d/dx x^2", "2x"), ("(x^2)'", "2x"),
        (r"\frac{d}{dx}x^2\Big|_{x=3}", "6"), (r"\nabla (x^2)", "2x"),
    )),
    Operator("matrix sums, products, powers, transposes, inverses, determinants", (
        (_SQUARE + _ONES, r"\begin{pmatrix} 3 \\ 7 \end{pmatrix}"),
        (_SQUARE + r" \cdot " + _ONES, r"\begin{pmatrix} 3 \\ 7 \end{pmatrix}"),
        (_SQUARE + "+" + _SQUARE, r"\begin{pmatrix} 2 & 4 \\ 6 & 8 \end{pmatrix}"),
        (_SQUARE + "-" + _SQUARE, r"\begin{pmatrix} 0 & 0 \\ 0 & 0 \end{pmatrix}"),
        (_SQUARE + "^2", r"\begin{pmatrix} 7 & 10 \\ 15 & 22 \end{pmatrix}"),
        (_SQUARE + "^T", r"\begin{pmatrix} 1 & 3 \\ 2 & 4 \end{pmatrix}"),
        (_SQUARE + r"^{\top}", r"\begin{pmatrix} 1 & 3 \\ 2 & 4 \end{pmatrix}"),
        (_SQUARE + "^{-1}", r"\begin{pmatrix} -2 & 1 \\ 3/2 & -1/2 \end{pmatrix}"),
        ("2" + _ONES, r"\begin{pmatrix} 2 \\ 2 \end{pmatrix}"),
        ("-" + _ONES, r"\begin{pmatrix} -1 \\ -1 \end{pmatrix}"),
        (r"\det" + _SQUARE, "-2"), (r"\begin{vmatrix} 1 & 2 \\ 3 & 4 \end{vmatrix}", "-2"), (f"|{_SQUARE}|", "-2"),
        (r"\operatorname{tr}" + _SQUARE, "5"), (r"\text{rank}" + _SQUARE, "2"),
    )),
    Operator("vector sums and products", (
        ("(1,2)+(3,4)", "(4,6)"), (r"(1,2) \cdot (3,4)", "11"), (r"(1,0,0) \times (0,1,0)", "(0,0,1)"),
        (r"\langle 1,2 \rangle - \langle 1,1 \rangle", "(0,1)"), ("3(1,2)", "(3,6)"), (r"\|(3,4)\|", "5"),
    )),
    Operator("set operations", (
        (r"\{1,2\} \cap \{2,3\}", r"\{2\}"), (r"\{1,2\} \cup \{2,3\}", r"\{1,2,3\}"), (r"(0,2) \cap (1,3)", "(1,2)"),
        (r"\{1,2\} \setminus \{2\}", r"\{1\}"), (r"[0,1] \cup [1,2]", "[0,2]"), (r"|\{4,5,6\}|", "3"),
    )),
    Operator("parts of complex numbers", (
        (r"\overline{3+4i}", "3-4i"), (r"\Re(3+4i)", "3"), (r"\operatorname{Im}(3+4i)", "4"),
        (r"\arg i", r"\frac{\pi}{2}"),
    )),
)
# fmt: on

FUNCTIONS = frozenset(name for operator in OPERATORS for name in operator.functions)
KIND_OF = {name: operator.kind for operator in OPERATORS for name in (*operator.functions, *operator.nodes)}
ROOT, LOGARITHM, TRIGONOMETRY, HYPERBOLIC, POWER_OF_E, COMPLEX, PIECE = (
    "root", "logarithm", "trigonometry", "hyperbolic functions", "power of e",
    "powers, products and quotients of complex numbers", "rounding and absolute value",
)  # fmt: skip


def docs_table() -> str:
    """The table in docs/tasks/math.md: a row per operation, with what earns 0.1 and the value that earns 1.0."""
    lines = ["| operation | not worked out (0.1) | value (1.0) |", "|---|---|---|"]
    for operator in OPERATORS:
        shown = [(_cell(unworked), _cell(value)) for unworked, value in operator.examples if len(unworked) < 40][:5]
        lines.append(
            f"| {operator.kind} | {', '.join(f'`{unworked}`' for unworked, _ in shown)} "
            f"| {', '.join(f'`{value}`' for value in dict.fromkeys(value for _, value in shown))} |"
        )
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
