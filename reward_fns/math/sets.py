r"""Sets of numbers as intervals: 0 \le x < 1, \{x \mid x > 2\}, \mathbb{R} \setminus \{2\}, "all reals".
Example: "x \ne 2" is the union of (-\infty, 2) and (2, \infty)."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

from reward_fns.math.expression import Unreadable
from reward_fns.math.forms import Equation, Group, Quantity, Shape, Text, split
from reward_fns.math.named import in_order
from reward_fns.math.text import NAME
from reward_fns.math.value import evaluate

_RELATION = re.compile(r"\\le(?![A-Za-z])|\\ge(?![A-Za-z])|<|>")
_FLIPPED = {">": "<", r"\ge": r"\le"}
_IS = r"(?:is|are|can\s+be|may\s+be)\s+"
_REALS = re.compile(
    rf"\\mathbb\s*\{{?\s*R\s*\}}?|(?:{NAME}\s{_IS})?(?:the\s+)?(?:set\s+of\s+)?(?:all|any|every)?\s*(?:the\s+)?"
    rf"(?:reals?|real\s+(?:numbers?|values?|solutions?))(?:(?:\s+of)?\s+{NAME})?|(?:all|any|every)\s+real\s+{NAME}",
    re.IGNORECASE,
)
_EMPTY = re.compile(
    r"\\emptyset|(?:the\s+)?(?:empty|null)\s*set|(?:the\s+)?(?:solution\s+)?set\s+is\s+empty|empty|none"
    r"|(?:(?:the\s+|this\s+)?(?:equation|inequality|system|problem|it)\s+has\s+|has\s+|there\s+(?:is|are|exists?)\s+)?no\s+"
    r"(?:(?:real|integer|valid|possible|such)\s+)*(?:solutions?|roots?|numbers?|values?|[a-z])(?:\s+of\s+[a-z])?"
    r"(?:\s+(?:that\s+)?(?:exists?|works?))?(?:\s+(?:in|over|among)\s+(?:the\s+)?reals?(?:\s+numbers)?)?",
    re.IGNORECASE,
)
_BUILDER = re.compile(
    rf"\\?\{{(?P<name>{NAME})(?:\\in\s*(?P<domain>\\mathbb\s*\{{?\s*R\s*\}}?)\s*)?(?:\\mid(?![A-Za-z])|\||:|\\colon)"
    r"(?P<condition>.*?)\\?\}",
    re.DOTALL,
)
# French intervals: ]2, \\infty[
_TURNED = re.compile(r"\s*(\]|\[(?=.*\[))([^\[\]()]*[,;][^\[\]()]*)([\[\]])\s*")
_WITHOUT = re.compile(
    r"\\setminus(?![A-Za-z])|\\backslash(?![A-Za-z])|-(?=\s*\\\{)"
    r"|(?<![A-Za-z])(?:except|other than)(?:\s+for)?(?![A-Za-z])"
)
_IN_REALS = re.compile(rf"(?:,|\\text\s*\{{\s*and\s*\}}|and)?{NAME}\\in\s*\\mathbb\s*\{{?\s*R\s*\}}?\s*")
_MEMBER = re.compile(rf"(?P<names>{NAME}|\s*\({NAME}(?:,{NAME})+\)\s*)\\in(?![A-Za-z])(?P<set>.*)", re.DOTALL)
EMPTY = Text(r"\emptyset", words=True)


def read_set(text: str, shape: Callable[[str], Shape]) -> Shape | None:
    """The set of real numbers that a cleaned text describes, or None. `shape` reads parts of the text."""
    plain = re.sub(r"\\text\s*\{([^{}]*)\}", r"\1", text).strip(" .")
    if turned := _TURNED.fullmatch(text):
        opening, ends, closing = turned.groups()
        return shape(("(" if opening == "]" else "[") + ends + (")" if closing == "[" else "]"))
    if _EMPTY.fullmatch(plain):
        return EMPTY
    if _REALS.fullmatch(plain) and re.search("R|real", plain):
        return interval("(", None, None, ")")
    if "{" in text and (built := _BUILDER.fullmatch(text)):
        if built["name"].strip() and _IN_REALS.fullmatch(built["condition"]):
            return interval("(", None, None, ")")
        found = shape(_IN_REALS.sub("", built["condition"]).strip())
        if isinstance(found, Group) and found.kind == "list" and all(_is_set(item) for item in found.items):
            return Group("union", found.items, text)
        return found if _is_set(found) else None
    if r"\in" in text and (member := _MEMBER.fullmatch(text)):
        names = [name.strip() for name in member["names"].strip("( )").split(",")]
        return shape(member["set"]) if names == in_order(names) else None
    if r"\ne" in text and (other := re.fullmatch(rf"{NAME}\\ne(?![A-Za-z])(.*)", text, re.DOTALL)):
        at = shape(other[1])
        items = at.items if isinstance(at, Group) and at.kind == "list" else (at,)
        return _reals_without(items, text)
    return _without(text, shape) or _relation(text, shape)


def is_in_reals(text: str) -> bool:
    """Whether a text says only that a letter is a real number."""
    return bool(_IN_REALS.fullmatch(text))


def intersection(items: tuple[Shape, ...], text: str) -> Shape | None:
    """The intersection of two inequalities joined by "and": x > 1 and x < 2 is (1, 2); None if not two intervals."""
    known = [item for item in items if isinstance(item, Group) and item.kind == "fence" and not item.text]
    return combined(known, text, union=False) if len(known) == len(items) == 2 else None


def combined(pair: list[Group], text: str, *, union: bool) -> Shape | None:
    """The intersection of two intervals, or the union if they overlap.

    None if the ends cannot be ordered, if the intervals meet in one point at most, and for a union with a gap; EMPTY
    for an intersection with a gap.
    """
    try:
        ends = [[_place(end) for end in each.items] for each in pair]
    except (Unreadable, TypeError, OverflowError):
        return None
    lows = sorted((0, 1), key=lambda at: (ends[at][0], pair[at].fences[0] == "("))
    highs = sorted((0, 1), key=lambda at: (ends[at][1], pair[at].fences[1] == "]"))
    if (low := ends[lows[1]][0]) >= (high := ends[highs[0]][1]) and not (union and low == high):
        return EMPTY if low > high and not union else None
    first, last = (pair[lows[0]], pair[highs[1]]) if union else (pair[lows[1]], pair[highs[0]])
    return Group("fence", (first.items[0], last.items[1]), text, first.fences[0] + last.fences[1])


def _place(end: Shape) -> float:
    if not isinstance(end, Quantity):
        raise Unreadable
    return float(evaluate(end.node, {}))


def _is_set(found: Shape) -> bool:
    return isinstance(found, Group) and found.kind in ("fence", "union")


def _without(text: str, shape: Callable[[str], Shape]) -> Shape | None:
    plain = re.sub(r"\\text\s*\{([^{}]*)\}", r" \1 ", text)
    parts = split(plain, _WITHOUT) if _WITHOUT.search(plain) else []
    if len(parts) != 2:
        return None
    whole, removed = shape(parts[0]), shape(parts[1])
    if whole.text != WHOLE:
        return None
    if isinstance(removed, Group) and removed.kind == "set":
        return _reals_without(removed.items, text)
    if re.search("except|other", plain):
        points = removed.items if isinstance(removed, Group) and removed.kind == "list" else (removed,)
        named = [point.sides[-1] if isinstance(point, Equation) and point.name else point for point in points]
        return _reals_without(tuple(named), text)
    return None


def _reals_without(points: tuple[Shape, ...], text: str) -> Shape | None:
    """All real numbers except some, as a union of open intervals; None if the points have no order."""
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


WHOLE = r"\mathbb{R}"


def interval(opening: str, low: Shape | None, high: Shape | None, closing: str) -> Group:
    """The interval between two ends; None is infinity."""
    infinity = ("const", "infty")
    ends = (low or Quantity(("neg", infinity), r"-\infty"), high or Quantity(infinity, r"\infty"))
    return Group("fence", ends, WHOLE if low is high is None else "", opening + closing)
