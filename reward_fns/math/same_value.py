r"""Are two quantities or equations the same? By value, under any meaning of their notation; units and work count.
Example: 25\% is 0.25 and 25; 5 cm is 5 and not 5 m; 2x - y + 3 = 0 is y = 2x + 3."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction

from reward_fns.math.expression import Node, Unreadable
from reward_fns.math.forms import Equation
from reward_fns.math.quantity import Quantity
from reward_fns.math.units import RADIAN, measures_differ
from reward_fns.math.value import evaluate, rounds_to, same_function, same_value, variables
from reward_fns.math.work import IRRATIONAL, work_left, worked_out

# True, False, or None where only a symbolic verifier can tell.
Settled = bool | None
_CAPITALS = re.compile(r"(?:[A-Z]\s*){2,}")
_FUNCTION_AT = re.compile(r"(?<![A-Za-z\\])([fghFGHPQ])\(\s*-?\d+\s*\)")
_DECIMAL = re.compile(r"-?(\d*)\.(\d+)")


def any_of(verdicts: Iterable[Settled]) -> Settled:
    """True if any is True, else None if any is None, else False."""
    unknown = False
    for verdict in verdicts:
        if verdict:
            return True
        unknown = unknown or verdict is None
    return None if unknown else False


def all_of(verdicts: Iterable[Settled]) -> Settled:
    """False if any is False, else None if any is None, else True."""
    unknown = False
    for verdict in verdicts:
        if verdict is False:
            return False
        unknown = unknown or verdict is None
    return None if unknown else True


def same_equation(a: Quantity | Equation, g: Equation) -> Settled:
    """Whether an answer is the equation g, or the value that g names."""
    if isinstance(a, Quantity):
        return bool(g.name) and len(g.sides) == 2 and same_quantity(a, g.sides[1])
    if g.name and not variables(g.sides[-1].node):
        return a.name == g.name and ends_in(a, g.sides[-1])  # x = 5 is the solution, 2x = 10 is the question
    if len(a.sides) == len(g.sides) == 2:
        if a.name and g.name and (a.name == g.name or "(" in a.name + g.name):
            return a.name == g.name and same_quantity(a.sides[1], g.sides[1])
        return _same_nodes(_difference(a), _difference(g), proportional=True)
    return bool(g.name) and ends_in(a, g.sides[-1])


def _difference(equation: Equation) -> Node:
    return ("-", equation.sides[0].node, equation.sides[1].node)


def ends_in(a: Equation, g: Quantity) -> Settled:
    """An equation as an answer where the gold is a value: its last side counts, and no other may contradict it."""
    others = a.sides[1:-1] if a.name else a.sides[:-1]
    last = a.sides[-1]
    if a.rounded and others and _rounded_from(others[-1], last):
        # 10\sqrt{2} \approx 14.14 answers both golds
        last = others[-1] if same_quantity(others[-1], g) else last
        others = others[:-1]
    verdict = same_quantity(last, g)
    if verdict is False and others and not any(variables(side.node) for side in a.sides):
        # 120 = 5! gives the value as well as 5! = 120
        exact = (_same_nodes(side.node, last.node, minding_work=False) for side in others)
        return all_of((any_of(same_quantity(side, g) for side in others), *exact))
    return all_of((verdict, *(agrees(side, last) for side in others)))


def agrees(work: Quantity, value: Quantity) -> Settled:
    """Whether work does not contradict its value; nothing has to be worked out here.

    "a + b = 5" names the unknown; "2x - y = 5" and "3 = 5" state something else.
    """
    if variables(work.node):
        if not re.search(r"(?<![_^{\d])\d", _FUNCTION_AT.sub(r"\1", work.text)) and not _is_constant(work.node):
            return True
    else:
        try:
            evaluate(work.node, {})
        except Unreadable:
            return True  # too large to check
    return _same_quantity(work, value, minding_work=False)


def _is_constant(node: Node) -> bool:
    """Whether the letters of a tree cancel, as in \\frac{4x}{x}."""
    names = sorted(variables(node))
    points = [{name: Fraction(13 + 7 * at + shift, 5 + shift) for at, name in enumerate(names)} for shift in (0, 6)]
    try:
        return same_value(*(evaluate(node, point) for point in points))
    except Unreadable:
        return False


def _rounded_from(exact: Quantity, rounded: Quantity) -> bool:
    """Whether a decimal or integer is the exact value rounded to its number of digits."""
    digits = re.fullmatch(r"-?\d*(?:\.(\d+))?", rounded.text.strip())
    if not digits or variables(exact.node):
        return False
    try:
        off = abs(evaluate(("-", exact.node, rounded.node), {}))
    except Unreadable:
        return False
    return bool(2 * off * 10 ** len(digits[1] or "") <= 1)


def same_quantity(a: Quantity, g: Quantity) -> Settled:
    """Whether two quantities are the same under any meaning of their notation, and `a` is worked out."""
    return _same_quantity(a, g, minding_work=True)


def _same_quantity(a: Quantity, g: Quantity, minding_work: bool) -> Settled:
    if _CAPITALS.fullmatch(a.text) and _CAPITALS.fullmatch(g.text):
        return a.text.split() == g.text.split() or a.text.replace(" ", "") == g.text.replace(" ", "")
    if a.product is None and g.product is None:
        return _same_meaning(a, g, minding_work)
    products = [_same_nodes(x, y) for x in (a.product, a.node) for y in (g.product, g.node) if x and y]
    # 5 m and 5 m: the first pair decides; 5 m and 5: the last one, which must consider the units
    return any_of([*products[:-1], _same_meaning(a, g, minding_work)])


def _same_meaning(a: Quantity, g: Quantity, minding_work: bool) -> Settled:
    if measures_differ(a.unit, g.unit) or _sign_and_unit(a, g):
        return False
    if a.special == g.special or not (a.special or g.special):
        same = _same_nodes(a.node, g.node, minding_work=minding_work)
        return _rounds(a, g) if same is False else same
    if a.special and g.special:
        return False
    marked, plain = (a, g) if a.special else (g, a)
    scaled: Node = ("call", "deg", marked.node)
    if marked.special == "%":
        scaled = ("/", marked.node, ("num", Fraction(100)))
    meanings = (scaled,) if plain.unit == RADIAN else (marked.node, scaled)
    nodes = [(node, plain.node) for node in meanings]
    return any_of(_same_nodes(*(pair if a.special else pair[::-1]), minding_work=minding_work) for pair in nodes)


def _sign_and_unit(a: Quantity, g: Quantity) -> bool:
    """Whether one has a degree or percent sign and the other a different unit."""
    units = [unit for unit in (a.unit, g.unit) if unit and not unit.startswith("deg")]
    angles = units == [RADIAN] and "deg" in (a.special, g.special)
    return bool((a.special or g.special) and units) and not angles


def _rounds(a: Quantity, g: Quantity) -> Settled:
    """Whether the gold is a decimal of three or more digits to which the answer's exact value rounds (3.14 for pi)."""
    digits = _DECIMAL.fullmatch(g.text.strip())
    if not digits or len((digits[1] + digits[2]).lstrip("0")) < 3 or variables(a.node):
        return False
    if not work_left(a.node) <= IRRATIONAL:
        return False
    try:
        return rounds_to(evaluate(a.node, {}), evaluate(g.node, {}), len(digits[2]))
    except Unreadable:
        return False


def _same_nodes(a: Node, g: Node, proportional: bool = False, minding_work: bool = True) -> Settled:
    if a == g:
        return True
    same = same_function(a, g, proportional)
    return same and (not minding_work or worked_out(a, g))
