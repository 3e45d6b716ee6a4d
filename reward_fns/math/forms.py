r"""The forms of an answer: a quantity, list, set, tuple, interval, union, matrix, ratio, equation, claim or text.
Also splitting texts at separators outside all brackets; shape.py reads the forms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from reward_fns.math.expression import Node
from reward_fns.math.quantity import Quantity

MAX_ITEMS = 64


@dataclass(frozen=True, slots=True)
class Text:
    """A text that is not an expression. words: it is plain words, equal only to the same words."""

    text: str
    words: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Several answers. kind: "list" and "set" in any order, "union" of sets, "matrix" of rows, "ratio", or "fence":
    a tuple, vector or interval, distinguished by the two brackets in `fences`.

    factor: in front of a matrix; the items have already been multiplied by it.
    """

    kind: Literal["list", "set", "union", "matrix", "ratio", "fence"]
    items: tuple[Shape, ...]
    text: str
    fences: str = ""
    factor: Node | None = None


@dataclass(frozen=True, slots=True)
class Equation:
    """Two or more sides joined by =. name: the left side if it only names something (x, f(2), P(A)), else "".

    rounded: the last side follows an approximation sign.
    """

    sides: tuple[Quantity, ...]
    name: str
    text: str
    rounded: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """Work outside the grammar, and its claimed result: \\int_0^1 2x\\,dx = 1."""

    work: tuple[str, ...]
    value: Shape
    text: str


Shape = Quantity | Text | Group | Equation | Claim

_SCAN = re.compile(
    r"(?P<open>\\\{|\\langle(?![A-Za-z])|\\begin\s*\{[a-z]*\}|[(\[{])"
    r"|(?P<close>\\\}|\\rangle(?![A-Za-z])|\\end\s*\{[a-z]*\}|[)\]}])"
    r"|\\text\s*\{[^{}]*\}|\\[A-Za-z]+|\\.|.",
    re.DOTALL,
)


def tops(text: str) -> Iterator[tuple[int, int]]:
    """(position, depth) of every character or command; a bracket of any kind closes any other, as in [0, 1)."""
    depth = 0
    for match in _SCAN.finditer(text):
        if match["close"]:
            depth -= 1
        yield match.start(), depth
        if match["open"]:
            depth += 1


def split(text: str, separator: re.Pattern[str]) -> list[str]:
    """The parts between the separators outside all brackets."""
    if not separator.search(text):
        return [text]
    outside = {at for at, depth in tops(text) if depth == 0}
    parts, start = [], 0
    for match in separator.finditer(text):
        if match.start() in outside:
            parts.append(text[start : match.start()])
            start = match.end()
    return [*parts, text[start:]]
