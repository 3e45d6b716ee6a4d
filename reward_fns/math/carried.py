r"""The result of work that is not an expression: sums of vectors, dot products, operations on sets and intervals,
numbers with money signs and units. Example: (1,2)+(3,5) is (4,7), so "(1,2)+(3,5) = (4,6)" contradicts itself."""

from __future__ import annotations

import re
from fractions import Fraction

from reward_fns.math.expression import Node
from reward_fns.math.forms import Group, Shape, split
from reward_fns.math.quantity import Quantity, read_expression
from reward_fns.math.same_value import Settled, agrees, all_of, same_quantity
from reward_fns.math.sets import combined
from reward_fns.math.shape import shape
from reward_fns.math.units import MONEY, is_short, unit_words

_FENCE = r"(?:\([^()]*,[^()]*\)|\\langle(?:(?!\\[lr]angle)[^()])*,(?:(?!\\[lr]angle)[^()])*\\rangle)"
_TERM = rf"\s*([+-]?)\s*([^()+\-,<>=]*?)\s*\*?\s*({_FENCE})\s*"
_SUM = re.compile(rf"(?:{_TERM})+")
_DOT = re.compile(rf"\s*({_FENCE})\s*\*\s*({_FENCE})\s*")
_SET_SIGN = re.compile(r"\\(cap|cup|setminus)(?![A-Za-z])")
_SIZE = re.compile(r"\s*\|\s*(\\\{.*\\\})\s*\|\s*", re.DOTALL)
_MONEY = re.compile(rf"\\(?:{MONEY})(?![A-Za-z])")
_PER_CENT = re.compile(r"(\d+(?:\.\d+)?)\s*%\s*(?:of(?![A-Za-z])|(?=\*))\s*\*?")
_UNIT = re.compile(
    r"(?<=[\d}) ])\s*\\text\s*\{[^{}]*\}(?:\^\{?\d\}?)?|(?<=\d)\s*[A-Za-z]{1,8}(?:\^\{?\d\}?)?(?![A-Za-z(])"
)


def contradicts(work: str, value: Shape) -> Settled:
    """Whether the result of such work differs from the value; None for any other work."""
    found = _carried(work, value)
    if isinstance(found, Quantity) and isinstance(value, Quantity):
        return _not(agrees(found, value))
    if not isinstance(found, Group) or not isinstance(value, Group):
        return None
    ours, theirs = (_quantities(group) for group in (found, value))
    if len(ours) < len(found.items) or not theirs or {found.kind, value.kind} - {"fence", "list", "set"}:
        return None
    if found.kind == "fence" or value.kind == "fence":
        if found.kind != value.kind:
            return None
        if len(ours) != len(theirs) or (_is_interval(found) and found.fences != value.fences):
            return True
        return _not(all_of(agrees(*pair) for pair in zip(ours, theirs, strict=True)))
    return not (all(_among(each, theirs) for each in ours) and all(_among(each, ours) for each in theirs))


def _not(verdict: Settled) -> Settled:
    return None if verdict is None else not verdict


def _carried(work: str, value: Shape) -> Shape | None:
    if size := _SIZE.fullmatch(work):
        counted = _set(size[1])
        return None if counted is None else Quantity(("num", Fraction(len(counted))), work)
    if signs := _SET_SIGN.findall(work):
        return _of_sets(work, signs)
    if isinstance(value, Quantity) and (factors := _DOT.fullmatch(work)):
        a, b = (_entries(factors[at]) for at in (1, 2))
        pairs = [("*", x.node, y.node) for x, y in zip(a, b, strict=False)]
        return _sum(pairs, work) if len(a) == len(b) > 0 else None
    if isinstance(value, Group) and value.kind == "fence" and _SUM.fullmatch(work):
        return _of_vectors(work)
    if isinstance(value, Group) and r"\pm" in work:
        return shape(work)
    return _bare(work) if isinstance(value, Quantity) else None


def _bare(work: str) -> Quantity | None:
    """The work without the signs and units of its numbers: $5 + $8.50, 30% of 30, 6 cm + 6 cm."""
    plain = _PER_CENT.sub(r"(\1/100) * ", _MONEY.sub(" ", work))
    units = {unit for found in _UNIT.findall(plain) for unit in unit_words(found)}
    if units and is_short([*units]):
        plain = _UNIT.sub(" ", plain)
    node = read_expression(plain) if plain != work else None
    return None if node is None else Quantity(node, plain)


def _of_vectors(work: str) -> Group | None:
    total: list[list[Node]] = []
    for sign, factor, fence in re.findall(_TERM, work):
        entries = _entries(fence)
        times = read_expression(factor) if factor.strip() else ("num", Fraction(1))
        if not entries or times is None or (total and len(total) != len(entries)):
            return None
        total = total or [[] for _ in entries]
        for terms, entry in zip(total, entries, strict=True):
            product: Node = ("*", times, entry.node)
            terms.append(("neg", product) if sign == "-" else product)
    items = tuple(_sum(terms, work) for terms in total)
    return Group("fence", items, work, "()")


def _sum(terms: list[Node], work: str) -> Quantity:
    total = terms[0]
    for term in terms[1:]:
        total = ("+", total, term)
    return Quantity(total, work)


def _of_sets(work: str, signs: list[str]) -> Shape | None:
    parts = split(work, _SET_SIGN)
    if len(parts) != 2 or len(signs) != 1:
        return None
    a, b = (_set(part) for part in parts)
    if a is not None and b is not None:
        kept = {
            "cap": [each for each in a if _among(each, b)],
            "cup": [*a, *(each for each in b if not _among(each, a))],
            "setminus": [each for each in a if not _among(each, b)],
        }[signs[0]]
        return Group("set", tuple(kept), work)
    intervals = [each for each in map(shape, parts) if isinstance(each, Group) and each.kind == "fence"]
    if signs[0] == "setminus" or [len(each.items) for each in intervals] != [2, 2]:
        return None
    return combined(intervals, "", union=signs[0] == "cup")


def _is_interval(group: Group) -> bool:
    return len(group.items) == 2 and not group.text


def _set(text: str) -> list[Quantity] | None:
    """The distinct members of a finite set of quantities."""
    found = shape(text.strip())
    if not isinstance(found, Group) or found.kind != "set":
        return None
    members: list[Quantity] = []
    for each in _quantities(found):
        if not _among(each, members):
            members.append(each)
    return members or None


def _entries(fence: str) -> tuple[Quantity, ...]:
    found = shape(fence)
    return _quantities(found) if isinstance(found, Group) and found.kind == "fence" else ()


def _quantities(group: Group) -> tuple[Quantity, ...]:
    found = tuple(item for item in group.items if isinstance(item, Quantity))
    return found if len(found) == len(group.items) else ()


def _among(each: Quantity, members: list[Quantity] | tuple[Quantity, ...]) -> bool:
    return any(same_quantity(each, member) or agrees(each, member) is True for member in members)
