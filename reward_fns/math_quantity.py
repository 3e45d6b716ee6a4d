r"""An expression with what stands beside it: a unit, a currency, per cent, degrees ("12 \text{ gm}", "\$36", "25\%").
Units are read so that they can be left out of the comparison, and so that 5 cm and 5 m can be told apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from reward_fns.math_expression import Node, Unreadable, parse

Special = Literal["", "%", "deg"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """An expression; `unit` its words in one spelling ("" without); `text` the expression as written.

    product: the whole as a product of letters, where that is possible too (5 m may be five times m).
    """

    node: Node
    text: str
    unit: str = ""
    special: Special = ""
    product: Node | None = None


_SCALE = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
# Words that say more about a number than its unit: "5 or more", "not 5 but 6".
_NO_UNIT = frozenset(
    ("and", "or", "not", "no", "choose", "plus", "minus", "times", "over", "more", "less", "than", "if", "but", "is")
)
_UNIT = re.compile(
    r"(?P<body>.*[\d)}\]!a-z])(?P<gap>\s*)\\text\s*\{(?P<unit>[^{}]+)\}\s*(?P<power>\^\s*\{?-?\d\}?)?", re.DOTALL
)
_PLAIN_UNIT = re.compile(
    r"(?P<body>.*?(?:[\d)}]|\\pi))(?P<gap>\s*)(?P<unit>[A-Za-z]+(?:[ /]+[A-Za-z.]+){0,3})\s*"
    r"(?P<power>\^\s*\{?-?\d\}?)?",
    re.DOTALL,
)
_NAMES = {
    "centimeter": "cm",
    "centimetre": "cm",
    "meter": "m",
    "metre": "m",
    "kilometer": "km",
    "kilometre": "km",
    "millimeter": "mm",
    "millimetre": "mm",
    "inche": "in",
    "inch": "in",
    "feet": "ft",
    "foot": "ft",
    "mile": "mi",
    "minute": "min",
    "hour": "h",
    "hr": "h",
    "second": "s",
    "sec": "s",
    "gm": "g",
    "gram": "g",
    "kilogram": "kg",
    "sq": "square",
    "unit": "",
}
_ANGLE = re.compile(r"(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
# fmt: off
MEASURES = frozenset((
    "cm", "m", "km", "mm", "in", "ft", "mi", "yard", "min", "h", "s", "day", "week", "year", "g", "kg",
    "dollar", "cent",
))
# fmt: on
_SHORT_UNITS = (
    MEASURES | _NAMES.keys() | {"mph", "kph", "rpm", "ml", "mg", "lb", "oz", "Hz", "J", "N", "W", "V", "L", "K"}
)


def read_quantity(text: str) -> Quantity | None:
    """The quantity that a cleaned text writes (math_text.clean), or None."""
    if currency := re.match(r"(-?)\s*\\usd", text):
        inner = read_quantity(currency[1] + text[currency.end() :].strip())
        return inner and Quantity(inner.node, inner.text, inner.unit or "dollar", inner.special)
    found = re.fullmatch(r"(.*?)\s*(%|\\deg(?:\s*[CF])?)", text, re.DOTALL)
    # In \cos 13^\circ the sign belongs to the angle, not to the whole.
    if found and not (found[2] == r"\deg" and _ANGLE.search(found[1])):
        node = read_expression(found[1])
        return None if node is None else Quantity(node, found[1], "", "%" if found[2] == "%" else "deg")
    node = read_expression(text)
    with_unit = _with_unit(text, _UNIT) or _with_unit(text, _PLAIN_UNIT)
    if node is None or (with_unit and with_unit.product is not None):
        return with_unit
    return Quantity(node, text)


def _with_unit(text: str, pattern: re.Pattern[str]) -> Quantity | None:
    found = pattern.fullmatch(text)
    if not found:
        return None
    body = found["body"].strip()
    words = found["unit"].strip().rstrip(".").split()
    node = read_expression(body)
    if node is None or not 0 < len(words) <= 4 or _NO_UNIT & {word.lower() for word in words}:
        return None
    if words[0].lower() in _SCALE:
        node = ("*", node, ("num", Fraction(_SCALE[words.pop(0).lower()])))
    product = read_expression(text)
    if product is not None and not (found["gap"] and words[0].rstrip("s") in _SHORT_UNITS):
        return None
    return Quantity(node, body, _unit(words, re.sub(r"[\s{}]", "", found["power"] or "")), "", product)


def _unit(words: list[str], power: str) -> str:
    names = []
    for word in words:
        lower = word.lower().rstrip(".,")
        single = lower[:-1] if lower.endswith("s") and len(lower) > 2 else lower
        names.append(_NAMES.get(single, single))
    if names and names[0] in ("square", "cubic"):
        power = "^2" if names.pop(0) == "square" else "^3"
    return " ".join(name for name in names if name) + power


def measures_differ(a: str, b: str) -> bool:
    """Whether two units measure differently, as cm and m, or cm and cm^2; unknown words ("apples") never do."""
    return a != b and a.split("^")[0] in MEASURES and b.split("^")[0] in MEASURES


def read_expression(text: str) -> Node | None:
    """The tree of an expression, or None; words are none, although a grammar could read them as products of letters."""
    if mixed := re.fullmatch(r"(-?)\s*(\d+)\s+(\d+)\s*/\s*(\d+)", text):
        text = f"{mixed[1]}({mixed[2]}+{mixed[3]}/{mixed[4]})"
    elif _has_word(text):
        return None
    try:
        return parse(text)
    except Unreadable:
        return None


def _has_word(text: str) -> bool:
    letters = re.findall(r"[A-Za-z]{3,}", re.sub(r"\\[A-Za-z]+", " ", text))
    # pir, sinx, abc are products without signs between; anything else of three letters and more is a word
    return any(
        not re.fullmatch(r"(?:sqrt|sin|cos|tan|log|ln|exp|pi)?(?:[a-z]{0,3}|[A-Z]+[a-z])(?:pi)?", word)
        for word in letters
    )
