r"""An expression with its unit, currency, percent or degree sign ("12 \text{ gm}", "\$36", "25\%").
A number may also be an ordinal (5th), a residue (3 \pmod 7) or have a base of ten (25_{10})."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from reward_fns.math.expression import Node, Unreadable, parse
from reward_fns.math.units import CURRENCIES, MONEY, is_short, unit_of, unit_words

Special = Literal["", "%", "deg"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """An expression; unit: normalised ("" without one); text: the expression as written.

    product: everything as a product of letters, if that is also possible (5 m may be five times m).
    """

    node: Node
    text: str
    unit: str = ""
    special: Special = ""
    product: Node | None = None


_SCALE = {"dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
# Words that are not units: "5 or more", "not 5 but 6".
# fmt: off
_NO_UNIT = frozenset((
    "and", "or", "not", "no", "choose", "plus", "minus", "over", "more", "less", "than", "if", "but", "is",
    "approximately", "about",
))
# Words that alone change the number.
_NOT_ALONE = frozenset((
    "squared", "cubed", "factorial", "half", "halves", "thirds", "fourths", "fifths", "sixths", "sevenths", "eighths",
    "ninths", "tenths",
))
# fmt: on
_POWER = r"(?:\s*\^\s*\{?-?\d\}?)?"
_UNIT = re.compile(
    rf"(?P<body>.*?[\d)}}\]!a-z])(?P<gap>\s*)(?P<unit>\\text\s*\{{[^{{}}]+\}}{_POWER}"
    rf"(?:\s*[*/]?\s*\\text\s*\{{[^{{}}]+\}}{_POWER})*)",
    re.DOTALL,
)
_PLAIN_UNIT = re.compile(
    rf"(?P<body>.*?(?:[\d)}}]|\\pi))(?P<gap>\s*)"
    rf"(?P<unit>[A-Za-z]+\.?{_POWER}(?:[ /*.]+[A-Za-z]+\.?{_POWER}){{0,4}})",
    re.DOTALL,
)
_UNIT_NAME = rf"(?:\\text\s*\{{[^{{}}]+\}}|[A-Za-z]{{1,2}}){_POWER}"
_UNIT_FRACTION = re.compile(rf"(?<=[\d ])\\frac\s*\{{\s*({_UNIT_NAME})\s*\}}\s*\{{\s*({_UNIT_NAME})\s*\}}$")
_ANGLE = re.compile(r"(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_MARKED = re.compile(
    r"(.*?)\s*(%|\\deg)(?:\s*(?:\\text\s*\{)?\s*(?P<scale>C|F|Celsius|Fahrenheit)\s*\}?)?", re.DOTALL | re.IGNORECASE
)
_ORDINAL = re.compile(
    r"(\d{1,12})-?\s*(?:\^\s*)?\{?\s*(?:\\text\s*\{\s*)?(st|nd|rd|th)\s*\}?\s*\}?"
    r"(?:\s+(?!power|root)[a-z]+|\s*\\text\s*\{(?!\s*(?:power|root))[a-z ]+\})?"
)
_RESIDUE = re.compile(r"\s*(\d{1,12})\s*\\mod\s*\{?\s*(\d{1,12})\s*\}?\s*")
_BASE_TEN = re.compile(
    r"\(?(\d+)\)?(?:_\{\s*\(?10\)?\s*\}|_\{\s*(?:\\text\s*\{\s*)?ten\s*\}?\s*\}"
    r"|\s*\(?(?:\\text\s*\{\s*\(?)?\s*(?:in\s+)?base\s+(?:10|ten)\s*\)?\s*\}?\)?)"
)


def read_quantity(text: str) -> Quantity | None:
    """The quantity in a cleaned text (text.clean), or None."""
    if currency := re.match(rf"(-?)\s*\\({MONEY})(?![A-Za-z])", text):
        inner = read_quantity(currency[1] + text[currency.end() :].strip())
        return inner and Quantity(inner.node, inner.text, inner.unit or CURRENCIES[currency[2]], inner.special)
    if number := _number_in_words(text):
        return number
    if "%" in text or r"\deg" in text:
        found = _MARKED.fullmatch(text)
        # In \cos 13^\circ the sign belongs to the angle only.
        if found and not (found[2] == r"\deg" and _ANGLE.search(found[1])):
            # 180^\circ - 70^\circ is a number of degrees, whatever the operations.
            node = read_expression(found[1].replace(r"\deg", " ") if found[2] == r"\deg" else found[1])
            unit = f"deg{found['scale'][0].lower()}" if found["scale"] else ""
            return None if node is None else Quantity(node, found[1], unit, "%" if found[2] == "%" else "deg")
    node = read_expression(text)
    if r"\frac" in text:
        text = _UNIT_FRACTION.sub(r" \1/\2", text)
    with_unit = (_with_unit(text, _UNIT) if r"\text" in text else None) or _with_unit(text, _PLAIN_UNIT)
    if node is None or (with_unit and with_unit.product is not None):
        return with_unit
    return Quantity(node, text)


def _number_in_words(text: str) -> Quantity | None:
    """5th, 3 \\mod 7 if nothing is left to divide, 25_{10}."""
    if (ten := _BASE_TEN.fullmatch(text)) and ten[1]:
        return Quantity(("num", Fraction(ten[1])), ten[0])
    if r"\mod" in text and (residue := _RESIDUE.fullmatch(text)) and int(residue[1]) < int(residue[2]):
        return Quantity(("num", Fraction(residue[1])), residue[1], f"mod {int(residue[2])}")
    if (ordinal := _ORDINAL.fullmatch(text)) and ordinal[2] == _suffix(int(ordinal[1])):
        return Quantity(("num", Fraction(ordinal[1])), ordinal[1], ordinal[2])
    return None


def _suffix(number: int) -> str:
    if number % 100 in (11, 12, 13):
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def _with_unit(text: str, pattern: re.Pattern[str]) -> Quantity | None:
    found = pattern.fullmatch(text)
    if not found:
        return None
    body = found["body"].strip()
    words = unit_words(found["unit"])
    if not 0 < len(words) <= 8 or not _may_be_unit([word.lower() for word in words]):
        return None
    node = read_expression(body)
    if node is None:
        return None
    if words[0].lower() in _SCALE:
        node = ("*", node, ("num", Fraction(_SCALE[words.pop(0).lower()])))
    product = read_expression(text)
    # 5m is a product; 5 m and 5km may be one, but are more likely a number with a unit
    if product is not None and not (is_short(words) and (found["gap"] or len(words[0]) > 1)):
        return None
    return Quantity(node, body, unit_of(words), "", product)


def _may_be_unit(words: list[str]) -> bool:
    if not _NO_UNIT.isdisjoint(words) or (len(words) > 1 and "times" in words):
        return False
    if words[0] in ("st", "nd", "rd", "th"):
        return False
    return not (len(words) == 1 and words[0] in _NOT_ALONE) and not any(word[0].isdigit() for word in words)


def read_expression(text: str) -> Node | None:
    """The tree of an expression, or None; words are not expressions, although they could be products of letters."""
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
    # pir, sinx, abc are products; anything else of three or more letters is a word
    return any(
        not re.fullmatch(r"(?:sqrt|sin|cos|tan|log|ln|exp|pi)?(?:[a-z]{0,3}|[A-Z]+[a-z])(?:pi)?", word)
        for word in letters
    )
