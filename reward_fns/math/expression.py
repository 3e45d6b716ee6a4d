r"""A grammar for mathematical expressions in LaTeX or plain text; text becomes a tree, nothing is executed.
Example: "\frac{3 \sqrt{2}}{2} + i" or "2x(x - 1)"; length and depth are bounded. value.py computes values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from reward_fns.math.operators import FUNCTIONS

# (kind, parts...): ("num", Fraction), ("var", name), ("const", name), ("+", a, b), ("call", name, a), ("root", n, a)
Node = tuple[Any, ...]

MAX_TOKENS = 400
MAX_DEPTH = 40

# fmt: off
_GREEK = frozenset((
    "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota", "kappa",
    "lambda", "mu", "nu", "xi", "rho", "sigma", "tau", "upsilon", "phi", "varphi", "chi", "psi", "omega", "ell",
    "Gamma", "Delta", "Theta", "Lambda", "Xi", "Sigma", "Phi", "Psi", "Omega", "hbar",
))
# fmt: on
_FENCES = {"(": ")", "[": "]", "{": "}", r"\lfloor": r"\rfloor", r"\lceil": r"\rceil"}
_TOKEN = re.compile(
    r"(?P<num>\d+\.\d+|\.\d+|\d+)(?:[eE](?P<exp>[+-]?\d{1,4})(?![\d.]))?|\\[A-Za-z]+|\\.|(?P<word>[A-Za-z]+)|\S"
)
_WORDS = re.compile("|".join(sorted(FUNCTIONS | {"pi"}, key=len, reverse=True)) + "|[A-Za-z]")
_REPEATING = re.compile(r"(\d{0,20})\.(\d{0,20})\\overline\s*\{?(\d{1,20})\}?")


def nodes(node: Node) -> Iterator[Node]:
    """The node and all nodes below it."""
    yield node
    for part in node[1:]:
        if isinstance(part, tuple):
            yield from nodes(part)


class Unreadable(Exception):
    """The text is outside the grammar, or its value cannot be computed within the bounds of value.py."""


def parse(text: str) -> Node:
    """The tree of a cleaned expression (see text.clean); Unreadable if it is not exactly one expression."""
    parser = _Parser(_tokens(_REPEATING.sub(_as_fraction, text)))
    node = parser.sum(0)
    if parser.rest:
        raise Unreadable
    return node


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    for match in _TOKEN.finditer(text):
        if match["num"]:
            tokens.append(match["num"] + ("e" + match["exp"] if match["exp"] else ""))
        elif match["word"]:
            for piece in _WORDS.findall(match["word"]):
                tokens.append("\\" + piece if len(piece) > 1 else piece)
        else:
            tokens.append(match[0])
    if not tokens or len(tokens) > MAX_TOKENS or _is_derivative(tokens):
        raise Unreadable
    return tokens


def _as_fraction(repeating: re.Match[str]) -> str:
    whole, once, period = repeating.groups()
    nines = (10 ** len(period) - 1) * 10 ** len(once)
    return rf"(\frac{{{int(whole + once + period) - int('0' + whole + once)}}}{{{nines}}})"


def _is_derivative(tokens: list[str]) -> bool:
    # dx/dt is not a quotient of products; reading it as one would make it equal to x/t.
    text = " ".join(tokens)
    return bool(re.search(r"\\frac (?:d|\{ d .*?\}) \{ d |(?:^| )d .*/ (?:\( )?d (?:\( )?[a-z]", text))


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self.rest = tokens[::-1]
        self.last = ""
        self.bars = 0

    def peek(self) -> str:
        return self.rest[-1] if self.rest else ""

    def take(self, expected: str | None = None) -> str:
        token = self.rest.pop() if self.rest else ""
        if not token or (expected is not None and token != expected):
            raise Unreadable
        self.last = token
        return token

    def sum(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise Unreadable
        node = self.product(depth)
        while self.peek() in ("+", "-"):
            sign = self.take()
            node = (sign, node, self.product(depth))
        while self.peek() == r"\mod":
            self.take()
            node = ("mod", node, self.power(depth))
        return node

    def product(self, depth: int) -> Node:
        if self.peek() in ("-", "+"):
            sign = self.take()
            if self.peek() in ("-", "+"):
                raise Unreadable
            node = self.product(depth)
            return ("neg", node) if sign == "-" else node
        node = self.power(depth)
        while True:
            token = self.peek()
            if token in ("*", "/"):
                self.take()
                negative = self.peek() == "-" and bool(self.take())
                factor = self.power(depth)
                node = (token, node, ("neg", factor) if negative else factor)
            elif self.starts_factor(token):
                if _is_number(token) and _is_number(self.last):
                    raise Unreadable  # two adjacent numbers are not a product
                factor = self.power(depth)
                if token == "{" and factor[0] == "num":
                    raise Unreadable  # not with braces in between either: \frac{429}4{2}
                mixed = node[0] == "num" and factor[0] == "/" and factor[3:] == ("frac",) and _is_mixed(node, factor)
                node = ("+", node, factor) if mixed else ("*", node, factor)
            else:
                return node

    def starts_factor(self, token: str) -> bool:
        if token == "|":
            return self.bars == 0
        if token in (r"\rfloor", r"\rceil", r"\mod"):
            return False
        return token in _FENCES or bool(re.match(r"[A-Za-z\d.]|\\[A-Za-z]", token))

    def power(self, depth: int) -> Node:
        node = self.base(depth)
        while self.peek() in ("^", "!", r"\deg"):
            token = self.take()
            if token == "^":
                node = ("^", node, self.argument(depth, signed=True))
                if self.peek() == "^":
                    raise Unreadable  # a^b^c is ambiguous in LaTeX, and towers explode
            elif token == "!" and self.peek() == "!":
                raise Unreadable  # the double factorial is not the factorial of a factorial
            else:
                node = ("call", "factorial" if token == "!" else "deg", node)
        return node

    def argument(self, depth: int, signed: bool = False) -> Node:
        """The argument of a command: a group in braces or brackets, or one token; LaTeX reads \\frac12 as 1 over 2."""
        token = self.peek()
        if signed and token == "-":
            self.take()
            return ("neg", self.argument(depth))
        if token in ("{", "("):
            return self.base(depth)
        if _is_number(token) and not signed and len(token) > 1 and token.isdigit():
            self.rest[-1] = token[1:]
            return ("num", Fraction(int(token[0])))
        return self.base(depth)

    def base(self, depth: int) -> Node:
        token = self.take()
        if _is_number(token):
            return ("num", Fraction(token))
        if token in _FENCES:
            node = self.sum(depth + 1)
            self.take(_FENCES[token])
            return ("call", token[2:], node) if token.startswith("\\l") else node
        if token == "|":
            self.bars += 1
            node = self.sum(depth + 1)
            self.bars -= 1
            self.take("|")
            return ("call", "abs", node)
        if len(token) == 1 and token.isalpha() and token.isascii():
            return self.symbol(token)
        if not token.startswith("\\"):
            raise Unreadable
        return self.command(token[1:], depth)

    def symbol(self, name: str) -> Node:
        if self.peek() == "_":
            self.take()
            name += "_" + self.subscript()
        if self.peek() == "'":
            raise Unreadable
        return ("const", name) if name in ("e", "i") else ("var", name)

    def subscript(self) -> str:
        if self.peek() != "{":
            return self.take()
        parts = [self.take()]
        while parts[-1] != "}":
            parts.append(self.take())
        return "".join(parts[1:-1])

    def command(self, name: str, depth: int) -> Node:
        if name in ("frac", "binom"):
            above = self.argument(depth)
            below = self.argument(depth)
            return ("/", above, below, "frac") if name == "frac" else ("binom", above, below)
        if name == "sqrt":
            index: Node = ("num", Fraction(2))
            if self.peek() == "[":
                index = self.base(depth)
            return ("root", index, self.argument(depth))
        if name in ("pi", "infty"):
            return ("const", name)
        if name in FUNCTIONS:
            return self.function(name, depth)
        if name in _GREEK:
            return self.symbol(name)
        raise Unreadable

    def function(self, name: str, depth: int) -> Node:
        base: Node | None = None
        if name == "log" and self.peek() == "_":
            self.take()
            base = self.argument(depth)
        power: Node | None = None
        if self.peek() == "^":
            self.take()
            power = self.argument(depth, signed=True)
        node = self.base(depth) if self.peek() in ("(", "{", "[") else self.operand(depth + 1)
        if power == ("neg", ("num", Fraction(1))) and name in ("sin", "cos", "tan"):
            name, power = "arc" + name, None
        call: Node = ("call", name, node) if base is None else ("log", base, node)
        return call if power is None else ("^", call, power)

    def operand(self, depth: int) -> Node:
        # \sin 3x is the sine of 3x; \sin x \cos x are two factors
        if depth > MAX_DEPTH:
            raise Unreadable
        if self.peek() == "-":
            self.take()
            return ("neg", self.operand(depth))
        node = self.power(depth)
        while (token := self.peek()) not in ("(", "[", "|") and self.starts_factor(token):
            if (token[1:] in FUNCTIONS and token != r"\sqrt") or _is_number(token):
                break
            node = ("*", node, self.power(depth))
        return node


def _is_number(token: str) -> bool:
    return token[:1].isdigit() or (token[:1] == "." and len(token) > 1)


def _is_mixed(whole: Node, fraction: Node) -> bool:
    above, below = fraction[1], fraction[2]
    return (
        whole[1].denominator == 1
        and above[0] == below[0] == "num"
        and above[1].denominator == below[1].denominator == 1
    )
