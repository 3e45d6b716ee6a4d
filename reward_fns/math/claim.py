r"""Equations as answers: "x = 5" names a value, "5! = 120" shows its derivation, "17 \equiv 2 \pmod 5" does both.
With a left side outside the grammar (\int_0^1 2x\,dx, P(X > 3)) it is a claim."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from reward_fns.math.forms import Claim, Equation, Group, Shape, Text, split
from reward_fns.math.quantity import Quantity, read_quantity
from reward_fns.math.text import NAME, canonical, depths

_EQUALS = re.compile(r"=|\\approx(?![A-Za-z])|\\equiv(?![A-Za-z])")
_LEFT_SIDE = re.compile(rf"{NAME}(?:\({NAME}(?:,{NAME})*\)\s*)?|\s*(?:\\angle|\\triangle)[A-Z ]+|\s*[A-Z]{{2,4}}\s*")
# Letters that are functions here, not factors of a product: f(2), f^{-1}(x), P(A), E[X].
_APPLIED = re.compile(
    r"\s*(?P<letter>[fghpqrstuvwFGHPQRSTNEVL]|\\(?:phi|varphi|sigma|tau|mu|psi|pi|Phi|Gamma|zeta))"
    r"(?:_\{?\w+\}?)?(?:\s*\^\s*\{?\s*-?\s*\d\s*\}?)?\s*(?:\((?P<of>.*)\)|\[(?P<in>[^\[\]]*)\])\s*",
    re.DOTALL,
)
_TUPLE = re.compile(rf"\s*(?:[(\[]|\\langle(?![A-Za-z]))?({NAME}(?:[,;]{NAME})+)(?:[)\]]|\\rangle(?![A-Za-z]))?\s*")
_MODULUS = re.compile(r"(.*)\\mod(?![A-Za-z])\s*(.*)", re.DOTALL)
_IN_A_BASE = re.compile(r"([0-9A-Z]{1,40})_(\d{1,2})")
_NUMBER = re.compile(r"[-\s\d./]+")
_PROSE = re.compile(r"(?<![\\A-Za-z{])[a-z]{4,}(?![A-Za-z])")
_NEGATED = re.compile(r"(?<![A-Za-z])(?:not|no|never|or|unless|if)(?![A-Za-z])", re.IGNORECASE)


def read_equation(text: str, shape: Callable[[str], Shape]) -> Shape | None:
    """The equation in a cleaned text, or the value it names, or a claim; or None. `shape` reads the sides."""
    signs = _EQUALS.findall(text)
    sides = split(text, _EQUALS) if signs else []
    if len(sides) < 2 or not all(side.strip() for side in sides):
        return None
    if len(sides) == 2 and _is_name(sides[1]) and (_NUMBER.fullmatch(sides[0]) or _is_value_of(sides[1], sides[0])):
        sides.reverse()  # 5 = x, 2x + 3 = y
    modulus = _MODULUS.fullmatch(sides[-1]) if r"\equiv" in signs else None
    name = canonical(sides[0]) if _is_name(sides[0]) else ""
    value = shape(sides[-1])
    if len(sides) == 2 and (named := _named_parts(sides[0], value, text)):
        return named
    if name and len(sides) == 2 and (isinstance(value, Group) or (isinstance(value, Text) and value.words)):
        return value  # x = 2 \pm \sqrt 3, A = \{1, 2\}, N = 1011_2
    quantities = [read_quantity(side.strip()) or _numeral(shape(side)) for side in sides]
    if name and quantities[0] is None:
        quantities[0] = Quantity(("var", name), name)
    if modulus and (divisor := read_quantity(modulus[2].strip())):
        quantities = [side and Quantity(("mod", side.node, divisor.node), side.text) for side in quantities[:-1]]
        quantities.append(read_quantity(sides[-1].strip()))
    known = tuple(quantity for quantity in quantities if quantity is not None)
    if len(known) == len(sides):
        return Equation(known, name, text, rounded=signs[-1] == r"\approx" and len(sides) > 2 - (not name))
    if isinstance(value, Quantity | Group) and not any(_is_prose(side) for side in sides[:-1]):
        return Claim(tuple(side.strip() for side in sides[:-1]), value, text)
    return None


def _is_value_of(name: str, side: str) -> bool:
    return (
        bool(re.fullmatch(NAME, name) or _APPLIED.fullmatch(name))
        and name.strip() not in ("e", "i", r"\pi")
        and name.strip() not in side
        and not _is_name(side)
    )


def _numeral(side: Shape) -> Quantity | None:
    """The value of 1011_2."""
    found = _IN_A_BASE.fullmatch(side.text) if isinstance(side, Text) else None
    try:
        return Quantity(("num", Fraction(int(found[1], int(found[2])))), side.text) if found else None
    except ValueError:
        return None


def _is_name(side: str) -> bool:
    if _LEFT_SIDE.fullmatch(side):
        return True
    applied = _APPLIED.fullmatch(side)
    if not applied:
        return False
    inside = applied["of"] or applied["in"] or ""
    if min(depths(inside, "(", ")"), default=0) < 0:
        return False
    return not re.search(rf"(?<![A-Za-z\\]){re.escape(applied['letter'])}(?![A-Za-z(])", inside)


def _named_parts(left: str, value: Shape, text: str) -> Shape | None:
    """(x, y) = (3, 4) as the list of x = 3 and y = 4."""
    names = _TUPLE.fullmatch(left) if re.search("[,;]", left) else None
    if not names or not isinstance(value, Group) or value.kind not in ("fence", "list"):
        return None
    letters = [canonical(name) for name in re.split("[,;]", names[1])]
    if len(letters) != len(value.items) or not all(isinstance(item, Quantity) for item in value.items):
        return None
    items = tuple(
        Equation((Quantity(("var", name), name), item), name, f"{name}={item.text}")
        for name, item in zip(letters, value.items, strict=True)
        if isinstance(item, Quantity)
    )
    return Group("list", items, text)


def _is_prose(side: str) -> bool:
    """Whether a side says more in words than its value: "7 because 3 + 4"."""
    if _NEGATED.search(side):
        return True
    side = re.sub(r"\\text\s*\{([^{}]*)\}", r" \1 ", side)
    return bool(_PROSE.search(side)) and (bool(re.search(r"[\d\\+*/^<>]", side)) or len(side.split()) > 8)
