"""A grammar for arithmetic written by a model: integers, + - * / and brackets, in plain, Unicode or LaTeX notation.
Text becomes a postfix program, evaluated in exact fractions; nothing is ever executed, and all inputs are bounded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

# Far above any real answer (six numbers need under 60 characters); bounds for time, stack and integer sizes.
MAX_CHARS = 1000
MAX_TOKENS = 256
MAX_DEPTH = 32
MAX_DIGITS = 9

NEGATE = "neg"
_LEADING = "leading neg"
_FRAC = "frac"

_TRANSLATE = str.maketrans(
    {
        **dict.fromkeys("×∗✕✖⋅·•∙＊﹡", "*"),
        **dict.fromkeys("÷∕⁄／➗", "/"),
        **dict.fromkeys("−–‐‑－﹣➖", "-"),
        **dict.fromkeys("＋﹢➕", "+"),
        **dict.fromkeys("＝﹦", "="),
        **dict(zip("（）［］｛｝＄", "()[]{}$", strict=True)),
        **{chr(0xFF10 + digit): str(digit) for digit in range(10)},
    }
)
_TOKEN = re.compile(r"[0-9]+|\\(?:[A-Za-z]+|.)?|\S")
_SIGNS: dict[str, str] = {
    **{sign: sign for sign in "+-*/=()[]{}"},
    **{"\\" + sign: sign for sign in "()[]{}"},
    **dict.fromkeys((r"\times", r"\cdot", r"\ast", "x", "X"), "*"),
    **dict.fromkeys((r"\div",), "/"),
    **dict.fromkeys((r"\frac", r"\dfrac", r"\tfrac"), _FRAC),
    **dict.fromkeys(("$", r"\left", r"\right", r"\boxed", r"\,", r"\;", r"\:", r"\!", "\\ ", r"\quad"), ""),
}
_CLOSING = {"(": ")", "[": "]", "{": "}"}

Token = int | str


@dataclass(frozen=True, slots=True)
class Expression:
    """A readable expression in postfix order, e.g. (19, 35, "+", 44, "+"). Equal programs are the same expression:
    notation, spaces and redundant brackets make no difference, the order of numbers and operations does.

    contradicts: it was written as part of a false equation, as in 3*4 = 13."""

    program: tuple[Token, ...]
    contradicts: bool = False

    @property
    def numbers(self) -> list[int]:
        """The numbers in the order in which they are written."""
        return [item for item in self.program if isinstance(item, int)]

    @property
    def negates(self) -> bool:
        """Whether an operand has a minus sign, as in 5 * -3. The first number may have one: -3 + 5."""
        return NEGATE in self.program or self.program.count(_LEADING) > 1

    def value(self) -> Fraction | None:
        """The exact value, or None if it divides by zero."""
        stack: list[tuple[int, int]] = []
        for item in self.program:
            if isinstance(item, int):
                stack.append((item, 1))
                continue
            c, d = stack.pop()
            if item in (NEGATE, _LEADING):
                stack.append((-c, d))
                continue
            a, b = stack.pop()
            if item == "+":
                stack.append((a * d + c * b, b * d))
            elif item == "-":
                stack.append((a * d - c * b, b * d))
            elif item == "*":
                stack.append((a * c, b * d))
            elif c == 0:
                return None
            else:
                stack.append((a * d, b * c))
        return Fraction(*stack[0])


class _Unreadable(Exception):
    pass


def read_expression(text: str) -> Expression | None:
    """The expression that `text` writes, or None if it is not exactly one expression of the grammar:

        sum     = product (("+" | "-") product)*
        product = operand (("*" | "/") operand)*
        operand = "-" operand | number | "(" sum ")" | "[" sum "]" | "{" sum "}" | \\frac { sum } { sum }
        number  = ASCII digits, at most 9, no leading zero

    The first number may have a plus sign.

    One `= number` may follow the expression, or one `number =` precede it; if that is not the value, the expression
    `contradicts` it. Never raises.
    """
    if len(text) > MAX_CHARS:
        return None
    try:
        tokens, stated = _sides(_tokens(text))
        tokens.reverse()
        program: list[Token] = []
        _read_sum(tokens, program, 0)
    except _Unreadable:
        return None
    if tokens:
        return None
    expression = Expression(tuple(program))
    return Expression(expression.program, stated is not None and expression.value() != stated)


def _tokens(text: str) -> list[Token]:
    if not text.isascii():
        text = text.translate(_TRANSLATE)
    tokens: list[Token] = []
    for piece in _TOKEN.findall(text):
        if "0" <= piece[0] <= "9":
            if len(piece) > MAX_DIGITS or (piece[0] == "0" and len(piece) > 1):
                raise _Unreadable
            tokens.append(int(piece))
        elif (sign := _SIGNS.get(piece)) is None:
            raise _Unreadable
        elif sign:
            tokens.append(sign)
    if not tokens or len(tokens) > MAX_TOKENS:
        raise _Unreadable
    return tokens


def _sides(tokens: list[Token]) -> tuple[list[Token], int | None]:
    """The side of an equation that is the expression, and the number on the other side."""
    if "=" not in tokens:
        return tokens, None
    while len(tokens) > 2 and _CLOSING.get(str(tokens[0])) == tokens[-1]:
        tokens = tokens[1:-1]
    at = tokens.index("=") if "=" in tokens else 0
    left, right = _bare(tokens[:at]), _bare(tokens[at + 1 :])
    if _is_lone_number(right):
        return left, _number(right)
    if _is_lone_number(left):
        return right, _number(left)
    raise _Unreadable


def _bare(tokens: list[Token]) -> list[Token]:
    """A number without its brackets, as in 3*4 = \\boxed{12}."""
    bare = tokens
    while len(bare) > 2 and _CLOSING.get(str(bare[0])) == bare[-1]:
        bare = bare[1:-1]
    return bare if _is_lone_number(bare) else tokens


def _number(tokens: list[Token]) -> int:
    return int(tokens[-1]) * (1 if len(tokens) == 1 else -1)


def _is_lone_number(tokens: list[Token]) -> bool:
    return bool(tokens) and isinstance(tokens[-1], int) and (len(tokens) == 1 or tokens[:-1] == ["-"])


def _read_sum(tokens: list[Token], program: list[Token], depth: int) -> None:
    _read_product(tokens, program, depth)
    while tokens and tokens[-1] in ("+", "-"):
        operator = tokens.pop()
        _read_product(tokens, program, depth)
        program.append(operator)


def _read_product(tokens: list[Token], program: list[Token], depth: int) -> None:
    _read_operand(tokens, program, depth)
    while tokens and tokens[-1] in ("*", "/"):
        operator = tokens.pop()
        _read_operand(tokens, program, depth)
        program.append(operator)


def _read_operand(tokens: list[Token], program: list[Token], depth: int) -> None:
    token = tokens.pop() if tokens else ""
    if isinstance(token, int):
        program.append(token)
    elif depth >= MAX_DEPTH:
        raise _Unreadable
    elif token == "-":
        sign = NEGATE if program else _LEADING
        _read_operand(tokens, program, depth + 1)
        program.append(sign)
    elif token == "+" and not program and depth == 0:
        _read_operand(tokens, program, MAX_DEPTH)  # +44 + 19: one sign before the first number
    elif token == _FRAC:
        _read_bracket(tokens, program, depth, "{")
        _read_bracket(tokens, program, depth, "{")
        program.append("/")
    elif token in _CLOSING:
        tokens.append(token)
        _read_bracket(tokens, program, depth, token)
    else:
        raise _Unreadable


def _read_bracket(tokens: list[Token], program: list[Token], depth: int, opening: str) -> None:
    if not tokens or tokens.pop() != opening:
        raise _Unreadable
    _read_sum(tokens, program, depth + 1)
    if not tokens or tokens.pop() != _CLOSING[opening]:
        raise _Unreadable
