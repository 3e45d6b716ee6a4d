r"""Sets of numbers as the intervals they are: 0 \le x < 1, \{x \mid x > 2\}, \mathbb{R} \setminus \{2\}, "all reals".
Example: "x \ne 2" is the union of (-\infty, 2) and (2, \infty)."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

from reward_fns.math_expression import Unreadable
from reward_fns.math_forms import NAME, Group, Quantity, Shape, Text, split
from reward_fns.math_value import evaluate

_RELATION = re.compile(r"\\le(?![A-Za-z])|\\ge(?![A-Za-z])|<|>")
_FLIPPED = {">": "<", r"\ge": r"\le"}
_REALS = re.compile(
    r"\\mathbb\s*\{?\s*R\s*\}?|(?:the\s+)?(?:set\s+of\s+)?(?:all|any|every)?\s*(?:the\s+)?(?:reals?|real\s+numbers?)",
    re.IGNORECASE,
)
_EMPTY = re.compile(
    r"\\emptyset|(?:the\s+)?empty\s*set|none|(?:there\s+(?:is|are)\s+)?no\s+(?:real\s+)?solutions?(?:\s+exists?)?",
    re.IGNORECASE,
)
_BUILDER = re.compile(
    rf"\\\{{(?P<name>{NAME})(?:\\in\s*(?P<domain>\\mathbb\s*\{{?\s*R\s*\}}?)\s*)?(?:\\mid(?![A-Za-z])|\||:|\\colon)"
    r"(?P<condition>.*)\\\}",
    re.DOTALL,
)
_WITHOUT = re.compile(r"\\setminus(?![A-Za-z])|\\backslash(?![A-Za-z])|-(?=\s*\\\{)")
_IN_REALS = re.compile(rf"(?:,|\\text\s*\{{\s*and\s*\}}|and)?{NAME}\\in\s*\\mathbb\s*\{{?\s*R\s*\}}?\s*")
EMPTY = Text(r"\emptyset", words=True)


def read_set(text: str, shape: Callable[[str], Shape]) -> Shape | None:
    """The set of real numbers that a cleaned text describes, or None. `shape` reads parts of the text."""
    plain = re.sub(r"\\text\s*\{([^{}]*)\}", r"\1", text).strip()
    if _EMPTY.fullmatch(plain):
        return EMPTY
    if _REALS.fullmatch(plain) and re.search("R|real", plain):
        return interval("(", None, None, ")")
    if r"\{" in text and (built := _BUILDER.fullmatch(text)):
        if built["name"].strip() and _IN_REALS.fullmatch(built["condition"]):
            return interval("(", None, None, ")")
        found = shape(_IN_REALS.sub("", built["condition"]).strip())
        if isinstance(found, Group) and found.kind == "list" and all(_is_set(item) for item in found.items):
            return Group("union", found.items, text)
        return found if _is_set(found) else None
    if r"\in" in text and (member := re.fullmatch(rf"{NAME}\\in(?![A-Za-z])(.*)", text, re.DOTALL)):
        return shape(member[1])
    if r"\ne" in text and (other := re.fullmatch(rf"{NAME}\\ne(?![A-Za-z])(.*)", text, re.DOTALL)):
        at = shape(other[1])
        items = at.items if isinstance(at, Group) and at.kind == "list" else (at,)
        return _reals_without(items, text)
    return _without(text, shape) or _relation(text, shape)


def _is_set(found: Shape) -> bool:
    return isinstance(found, Group) and found.kind in ("fence", "union")


def _without(text: str, shape: Callable[[str], Shape]) -> Shape | None:
    parts = split(text, _WITHOUT) if _WITHOUT.search(text) else []
    if len(parts) != 2:
        return None
    whole, left_out = shape(parts[0]), shape(parts[1])
    if whole.text != _WHOLE or not isinstance(left_out, Group) or left_out.kind != "set":
        return None
    return _reals_without(left_out.items, text)


def _reals_without(points: tuple[Shape, ...], text: str) -> Shape | None:
    """All real numbers but some, as a union of open intervals; None if the points have no order."""
    try:
        known = [(evaluate(point.node, {}), point) for point in points if isinstance(point, Quantity)]
        known.sort(key=lambda pair: pair[0])
    except (Unreadable, TypeError):
        if len(points) != 1:
            return None
        known = [(0, point) for point in points if isinstance(point, Quantity)]
    if not known or len(known) != len(points):
        return None
    ends = [None, *(point for _, point in known), None]
    return Group("union", tuple(interval("(", a, b, ")") for a, b in pairwise(ends)), text)


def _relation(text: str, shape: Callable[[str], Shape]) -> Shape | None:
    """Inequalities of one variable: 0 \\le x < 1 is [0, 1)."""
    signs = _RELATION.findall(text)
    sides = split(text, _RELATION) if signs else []
    if len(sides) != len(signs) + 1 or len(signs) not in (1, 2):
        return None
    if signs[0] in _FLIPPED:
        sides, signs = sides[::-1], [_FLIPPED.get(sign, "") for sign in signs[::-1]]
    if not set(signs) <= {"<", r"\le"}:
        return None
    opening, closing = ("[" if signs[0] == r"\le" else "("), ("]" if signs[-1] == r"\le" else ")")
    named = [
        bool(re.fullmatch(NAME, side)) and not re.fullmatch(r"\s*\\infty\s*|\s*\\pi\s*|\s*e\s*", side) for side in sides
    ]
    if named == [False, True, False]:
        return interval(
            _unless_infinite(opening, sides[0]), shape(sides[0]), shape(sides[2]), _unless_infinite(closing, sides[2])
        )
    if named == [True, False]:
        return interval("(", None, shape(sides[1]), closing)
    return interval(opening, shape(sides[0]), None, ")") if named == [False, True] else None


def _unless_infinite(bracket: str, end: str) -> str:
    return bracket if r"\infty" not in end else {"[": "(", "]": ")"}.get(bracket, bracket)


_WHOLE = r"\mathbb{R}"


def interval(opening: str, low: Shape | None, high: Shape | None, closing: str) -> Group:
    """The interval between two ends; None is infinity."""
    infinity = ("const", "infty")
    ends = (low or Quantity(("neg", infinity), r"-\infty"), high or Quantity(infinity, r"\infty"))
    return Group("fence", ends, _WHOLE if low is high is None else "", opening + closing)
