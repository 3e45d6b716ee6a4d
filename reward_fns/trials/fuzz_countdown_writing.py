"""Random countdown expressions as trees, their exact values, and many ways to write one.
Example: the tree 44 + (19 + 35), of value 98, becomes "44 + (19 + 35) = 98" or "$44 + \\left(19 + 35\\right)$"."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

# Labels must not depend on the reward's documented limits: 1,000 characters, nesting of 32, numbers of 9 digits.
_MOST_NUMBERS = 6
_LARGEST = 10**9


@dataclass(frozen=True, slots=True)
class Tree:
    """A number, or an operation (one of + - * /) on two trees."""

    number: int = 0
    operation: str = ""
    left: Tree | None = None
    right: Tree | None = None


@dataclass(frozen=True, slots=True)
class Notation:
    """How to write an expression. signs: by operation. fraction: a LaTeX command for division, or "" to use the sign.

    space: between signs and operands. digits: writes a number. redundant: share of operands in redundant brackets.
    """

    signs: dict[str, str]
    brackets: tuple[tuple[str, str], ...] = (("(", ")"),)
    space: str = " "
    fraction: str = ""
    digits: Callable[[int], str] = str
    redundant: float = 0.0


ASCII = {"+": "+", "-": "-", "*": "*", "/": "/"}
_LATEX = {"+": "+", "-": "-", "*": "\\times", "/": "\\div"}
_FULL_WIDTH = str.maketrans("0123456789", "０１２３４５６７８９")


def draw_tree(draw: random.Random, numbers: list[int]) -> Tree:
    """A random tree over all the numbers in this order."""
    if len(numbers) == 1:
        return Tree(number=numbers[0])
    cut = draw.randint(1, len(numbers) - 1)
    return Tree(
        operation=draw.choice("+-*/"), left=draw_tree(draw, numbers[:cut]), right=draw_tree(draw, numbers[cut:])
    )


def value_of(tree: Tree) -> Fraction | None:
    """The exact value, None if it divides by zero."""
    if tree.left is None or tree.right is None:
        return Fraction(tree.number)
    left, right = value_of(tree.left), value_of(tree.right)
    if left is None or right is None:
        return None
    if tree.operation == "/":
        return left / right if right else None
    return left + right if tree.operation == "+" else left - right if tree.operation == "-" else left * right


def draw_numbers(draw: random.Random) -> list[int]:
    """Two to six numbers, small or up to 999."""
    most = draw.choice((9, 20, 99, 99, 999))
    return [draw.randint(1, most) for _ in range(draw.randint(2, _MOST_NUMBERS))]


def solved(draw: random.Random) -> tuple[Tree, list[int], int]:
    """A tree with an integer value, its numbers shuffled, and that value as the target."""
    while True:
        numbers = draw_numbers(draw)
        tree = draw_tree(draw, numbers)
        value = value_of(tree)
        if value is not None and value.denominator == 1 and abs(value) < _LARGEST:
            draw.shuffle(numbers)
            return tree, numbers, int(value)


def draw_notation(draw: random.Random) -> Notation:
    """Plain, Unicode, full-width or LaTeX signs, with some kind of brackets and spaces."""
    signs = dict(draw.choice((ASCII, ASCII, _LATEX)))
    digits: Callable[[int], str] = str
    if draw.random() < 0.3:
        signs["*"] = draw.choice(("×", "·", "⋅", "∗", "\\cdot", "x"))
        signs["/"] = draw.choice(("÷", "∕", "/"))
        signs["-"] = draw.choice(("−", "–", "-"))
    if draw.random() < 0.1:
        signs |= {"+": "＋", "*": "＊", "/": "／"}
        digits = _full_width
    brackets = draw.choice(
        (
            (("(", ")"),),
            (("(", ")"),),
            (("(", ")"), ("[", "]"), ("{", "}")),
            (("\\left(", "\\right)"),),
            (("（", "）"),),
        )
    )
    # A word such as \times or x needs a space; a sign does not.
    spaces = (" ", "  ", "\n") if any(sign[-1].isalpha() for sign in signs.values()) else (" ", "", "", "\t")
    return Notation(
        signs,
        brackets,
        draw.choice(spaces),
        draw.choice(("", "", "", "\\frac", "\\dfrac")),
        digits,
        draw.choice((0.0, 0.0, 0.3)),
    )


def _full_width(number: int) -> str:
    return str(number).translate(_FULL_WIDTH)


def written(draw: random.Random, tree: Tree, notation: Notation) -> str:
    """The expression with the brackets it needs, and sometimes more."""
    if tree.left is None or tree.right is None:
        text = notation.digits(tree.number)
    elif tree.operation == "/" and notation.fraction:
        above, below = written(draw, tree.left, notation), written(draw, tree.right, notation)
        text = f"{notation.fraction}{{{above}}}{{{below}}}"
    else:
        left = _operand(draw, tree.left, tree.operation, False, notation)
        right = _operand(draw, tree.right, tree.operation, True, notation)
        text = notation.space.join((left, notation.signs[tree.operation], right))
    return _bracketed(draw, text, notation) if draw.random() < notation.redundant else text


def _operand(draw: random.Random, tree: Tree, operation: str, on_the_right: bool, notation: Notation) -> str:
    text = written(draw, tree, notation)
    product = operation in "*/"
    tight = not tree.operation or (tree.operation == "/" and bool(notation.fraction))
    if tight or (product and tree.operation in "*/" and not on_the_right):
        return text
    if not product and (tree.operation in "*/" or not on_the_right):
        return text
    # on the right of + and * too, where they would not change the value: the text then shows the tree
    return _bracketed(draw, text, notation)


def _bracketed(draw: random.Random, text: str, notation: Notation) -> str:
    opening, closing = notation.brackets[draw.randrange(len(notation.brackets))]
    return opening + text + closing


def decorated(draw: random.Random, text: str, stated: int | str) -> str:
    """The expression as models write it in the tags: bare, with a result, in dollars, boxed."""
    if draw.random() < 0.3:
        text = f"{text} = {stated}" if draw.random() < 0.8 else f"{stated} = {text}"
    if draw.random() < 0.3:
        before, after = draw.choice((("$", "$"), ("$$", "$$"), ("\\(", "\\)"), ("\\[ ", " \\]"), ("\\boxed{", "}")))
        text = before + text + after
    return draw.choice(("", " ", "\n")) + text + draw.choice(("", " ", "\n"))
