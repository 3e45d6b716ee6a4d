r"""The shape of a mathematical answer: a quantity, list, set, tuple, interval, union, matrix, ratio, equation or text.
Example: "x = 2 \text{ or } x = 3" is a list of two equations; "[0, \infty)" is a fence of two quantities."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from reward_fns.math_quantity import Quantity, read_quantity
from reward_fns.math_text import balanced, canonical

MAX_ITEMS = 64


@dataclass(frozen=True, slots=True)
class Text:
    """Words or signs that are no expression. words: plainly words, so that only the same words are equal to them."""

    text: str
    words: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Several answers. kind: "list" and "set" in any order, "union" of sets, "matrix" of rows, "ratio", or "fence":
    a tuple, a vector or an interval, told apart by the two brackets in `fences`."""

    kind: Literal["list", "set", "union", "matrix", "ratio", "fence"]
    items: tuple[Shape, ...]
    text: str
    fences: str = ""


@dataclass(frozen=True, slots=True)
class Equation:
    """Two or more sides with = between them. name: the left side if it only names something (x, f(x)), else ""."""

    sides: tuple[Quantity, ...]
    name: str
    text: str


Shape = Quantity | Text | Group | Equation

_SCAN = re.compile(
    r"(?P<open>\\\{|\\langle(?![A-Za-z])|\\begin\s*\{[a-z]*\}|[(\[{])"
    r"|(?P<close>\\\}|\\rangle(?![A-Za-z])|\\end\s*\{[a-z]*\}|[)\]}])"
    r"|\\text\s*\{[^{}]*\}|\\[A-Za-z]+|\\.|.",
    re.DOTALL,
)
_OPENING = {"(": "(", "[": "[", r"\langle": "("}
_CLOSING = {")": ")", "]": "]", r"\rangle": ")"}
_SEPARATOR = re.compile(r",\s*(?:and|or)\s|,|;|(?<![A-Za-z])(?:and|or)(?![A-Za-z])")
_COMMA = re.compile("[,;]")
_MATRIX = re.compile(r"\\begin\s*\{([pbB]?matrix|array)\}(?:\s*\{[lcr|]*\})?(.*)\\end\s*\{\1\}", re.DOTALL)
_NAME = r"\s*(?:[A-Za-z]|\\[A-Za-z]+)(?:_(?:\w|\{\w+\}))?\s*"
_LEFT_SIDE = re.compile(rf"{_NAME}(?:\({_NAME}(?:,{_NAME})*\)\s*)?|\s*(?:\\angle|\\triangle)[A-Z ]+|\s*[A-Z]{{2,4}}\s*")
_RELATION = re.compile(r"\\le(?![A-Za-z])|\\ge(?![A-Za-z])|<|>")
_FLIPPED = {">": "<", r"\ge": r"\le"}


def readings(text: str) -> list[Shape]:
    """The shapes that a cleaned text may have, likeliest first: "1,000" is a number, but may also be the list 1, 0."""
    found = [shape(text)]
    grouped = re.fullmatch(r"([-\s]|\\usd)*(\d{1,3}(?:,\d{3})+|\d{1,3}(?: \d{3})+)(?![\d,])(?:[^,]*)", text, re.DOTALL)
    if grouped:
        found.insert(0, shape(text.replace(grouped[2], re.sub("[, ]", "", grouped[2]), 1)))
    elif re.search(r",\s|;", text) and re.search(r"\d,\d{3}(?!\d)", text):
        found.insert(0, shape(re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)))
    if worded := re.fullmatch(r"\\text\s*\{([^{}]*)\}", text):
        found.append(shape(worded[1]))
    return found


def shape(text: str) -> Shape:
    """The shape of a cleaned text; whatever is nothing else is Text."""
    text = text.strip()
    if re.fullmatch(r"\d{1,2}:\d\d(?::\d\d)?\s*(?:[ap]\.?m\.?)?", text, re.IGNORECASE) or _in_a_base(text):
        return Text(text, words=True)
    for read in (_matrix, _list, _braced, _union, _relation, _equation, _plus_minus, _ratio, read_quantity):
        found = read(text)
        if found is not None:
            return found
    plain = re.sub(r"\\text\s*\{[^{}]*\}", "", text)
    # Digits with blanks or dots between them (2 3, 1.2.3) are no formula either.
    formula = re.search(r"[\d\\^_=<>+*/|]", plain) and not re.fullmatch(r"[\d. ]+", plain)
    return Text(text, words=balanced(text) and not formula)


def _in_a_base(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9A-Z]+_(?:\d|\{\d+\})", text)) and text[0].isdigit()


def key_of(text: str) -> str:
    """What of a text counts when words are compared."""
    return re.sub(r"(?<!\d)\.|\.(?!\d)|['\"]", "", canonical(text)).lower()


def _tops(text: str) -> Iterator[tuple[int, int]]:
    """(position, depth) of every sign or command; a bracket of any kind closes any other, as in [0, 1)."""
    depth = 0
    for match in _SCAN.finditer(text):
        if match["close"]:
            depth -= 1
        yield match.start(), depth
        if match["open"]:
            depth += 1


def _split(text: str, separator: re.Pattern[str]) -> list[str]:
    """The parts between the separators that stand outside all brackets."""
    if not separator.search(text):
        return [text]
    outside = {at for at, depth in _tops(text) if depth == 0}
    parts, start = [], 0
    for match in separator.finditer(text):
        if match.start() in outside:
            parts.append(text[start : match.start()])
            start = match.end()
    return [*parts, text[start:]]


def _items(parts: list[str]) -> tuple[Shape, ...]:
    items: list[Shape] = []
    for part in parts:
        item = shape(part)
        items.extend(item.items if isinstance(item, Group) and item.kind == "list" else [item])
    return tuple(items)


def _list(text: str) -> Shape | None:
    parts = [part for part in _split(text, _SEPARATOR) if part.strip()]
    if not 1 < len(parts) <= MAX_ITEMS:
        return None
    items = _items(parts)
    if any(isinstance(item, Text) and len(item.text.split()) > 3 for item in items):
        return None  # a sentence with commas
    return Group("list", items, text)


def _braced(text: str) -> Shape | None:
    tops = list(_tops(text))
    if len(tops) < 3 or tops[-1][1] != 0 or any(depth == 0 for _, depth in tops[1:-1]):
        return None
    first, inner, last = text[: tops[1][0]].strip(), text[tops[1][0] : tops[-1][0]], text[tops[-1][0] :].strip()
    parts = _split(inner, _COMMA)
    if len(parts) > MAX_ITEMS:
        return None
    if (first, last) == (r"\{", r"\}"):
        return None if re.search(r"\\mid|[|:]", inner) else Group("set", _items(parts), text)
    if first not in _OPENING or last not in _CLOSING or len(parts) < 2:
        return None
    return Group("fence", tuple(shape(part) for part in parts), text, _OPENING[first] + _CLOSING[last])


def _matrix(text: str) -> Shape | None:
    found = _MATRIX.fullmatch(text)
    rows = [row for row in re.split(r"\\\\(?:\[[^\]]*\])?", found[2]) if row.strip()] if found else []
    if not 0 < len(rows) <= MAX_ITEMS or any("\\begin" in row for row in rows):
        return None
    cells = [tuple(shape(cell) for cell in row.split("&")) for row in rows]
    return Group("matrix", tuple(Group("fence", row, "", "||") for row in cells), text)


def _union(text: str) -> Shape | None:
    parts = _split(text, re.compile(r"\\cup(?![A-Za-z])"))
    return Group("union", tuple(shape(part) for part in parts), text) if 1 < len(parts) <= MAX_ITEMS else None


def _relation(text: str) -> Shape | None:
    """Inequalities of one variable, and membership, as the sets they describe: 0 \\le x < 1 is [0, 1)."""
    if member := re.fullmatch(rf"{_NAME}\\in(?![A-Za-z])(.*)", text, re.DOTALL):
        return shape(member[1])
    if other := re.fullmatch(rf"{_NAME}\\ne(?![A-Za-z])(.*)", text, re.DOTALL):
        at = shape(other[1])
        return Group("union", (_interval("(", None, at, ")"), _interval("(", at, None, ")")), text)
    sides, signs = _split(text, _RELATION), _RELATION.findall(text)
    if len(sides) != len(signs) + 1 or len(signs) not in (1, 2):
        return None
    if signs[0] in _FLIPPED:
        sides, signs = sides[::-1], [_FLIPPED.get(sign, "") for sign in signs[::-1]]
    if not set(signs) <= {"<", r"\le"}:
        return None
    opening, closing = ("[" if signs[0] == r"\le" else "("), ("]" if signs[-1] == r"\le" else ")")
    named = [bool(re.fullmatch(_NAME, side)) for side in sides]
    if named == [False, True, False]:
        return _interval(opening, shape(sides[0]), shape(sides[2]), closing)
    if named == [True, False]:
        return _interval("(", None, shape(sides[1]), closing)
    return _interval(opening, shape(sides[0]), None, ")") if named == [False, True] else None


def _interval(opening: str, low: Shape | None, high: Shape | None, closing: str) -> Group:
    infinity = ("const", "infty")
    ends = (low or Quantity(("neg", infinity), r"-\infty"), high or Quantity(infinity, r"\infty"))
    return Group("fence", ends, "", opening + closing)


def _equation(text: str) -> Shape | None:
    sides = _split(text, re.compile("="))
    if len(sides) < 2:
        return None
    name = canonical(sides[0]) if _LEFT_SIDE.fullmatch(sides[0]) else ""
    if name and len(sides) == 2 and isinstance(right := shape(sides[1]), Group):
        return right  # x = 2 \pm \sqrt 3, A = \{1, 2\}
    quantities = [read_quantity(side.strip()) for side in sides]
    if name and quantities[0] is None:
        quantities[0] = Quantity(("var", name), name)
    known = tuple(quantity for quantity in quantities if quantity is not None)
    return Equation(known, name, text) if len(known) == len(sides) else None


def _plus_minus(text: str) -> Shape | None:
    if text.count(r"\pm") != 1:
        return None
    plus, minus = (read_quantity(text.replace(r"\pm", sign).strip()) for sign in "+-")
    return Group("list", (plus, minus), text) if plus and minus else None


def _ratio(text: str) -> Shape | None:
    parts = _split(text, re.compile(":"))
    items = [read_quantity(part.strip()) for part in parts] if 1 < len(parts) <= 4 else []
    known = tuple(item for item in items if item is not None)
    return Group("ratio", known, text) if known and len(known) == len(parts) else None
