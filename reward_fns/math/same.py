r"""Is an answer of any shape the same as the gold? Compared part by part; a `Verifier` decides on formulas outside the
grammar. An answer outside the grammar counts as worked out only if the gold is too, with the same commands."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from reward_fns.math.carried import contradicts
from reward_fns.math.forms import Claim, Equation, Group, Shape, Text
from reward_fns.math.named import named_values
from reward_fns.math.quantity import Quantity, read_quantity
from reward_fns.math.same_value import Settled, agrees, all_of, ends_in, same_equation, same_quantity
from reward_fns.math.sets import EMPTY, WHOLE
from reward_fns.math.shape import key_of
from reward_fns.math.text import canonical
from reward_fns.math.units import CURRENCIES
from reward_fns.math.value import variables
from reward_fns.math.work import is_whole

# What math-verify can compute: only such work can contradict its value.
_COMPUTED = re.compile(
    r"\\(?:i+nt|sum|prod|lim|gcd|lcm|max|min|det|binom|mod|begin\s*\{[vpb]matrix|frac\s*\{\s*(?:d|\\partial))(?![A-Za-z])"
)
# A letter that the gold lacks can only be a constant of integration.
_CONSTANTS = frozenset("cCkK")
_INDEFINITE = re.compile(r"\s*\\int(?![A-Za-z])\s*(?!_)")
_ANY_CONSTANT = re.compile(r"\s*\+\s*[cCkK]\s*$")
_RATE = re.compile(r"\\frac\{d[a-z]\}\{d[a-z]\}")
_PROSE = re.compile(r"(?<![\\A-Za-z{])[a-z]{4,}(?![A-Za-z])")
_COMMAND = re.compile(r"\\[A-Za-z]+|\\text\s*\{[^{}]*\}|'|!!")
# Commands that denote a value and leave no work to do.
_NAMES_OF_NOTATION = "frac sqrt pi infty text deg pm le ge ne cup emptyset mathbb in langle rangle begin end"
_NOTATION = frozenset("\\" + name for name in (*_NAMES_OF_NOTATION.split(), *CURRENCIES))


@dataclass(frozen=True, slots=True)
class Verifier:
    """A symbolic verifier. equal(answer, gold): are two formulas the same? agrees(work, value): is the value not wrong?
    (Not if the work cannot be computed.) Both return None if another verifier has to be asked."""

    equal: Callable[[str, str], Settled]
    agrees: Callable[[str, str], Settled]


def same(a: Shape, g: Shape, verifier: Verifier) -> Settled:
    """Whether the answer `a` is the gold `g` up to notation, and worked out."""
    if isinstance(g, Claim):
        return _same_as_claim(a, g, verifier)
    if isinstance(a, Claim) and not isinstance(g, Text):
        value = g.sides[-1] if isinstance(g, Equation) and g.name and not variables(g.sides[-1].node) else g
        return all_of((same(a.value, value, verifier), *(_agrees(work, a.value, verifier) for work in a.work)))
    if g.text == WHOLE and a.text.strip() == "R":
        return True
    if EMPTY in (a, g):
        return a == g  # and \{\emptyset\} is not empty
    if isinstance(g, Group):
        return _same_group(a, g, verifier)
    if isinstance(a, Group):
        return _says_one(a) and same(a.items[0], g, verifier)
    if isinstance(a, Text | Claim) or isinstance(g, Text):
        return _same_text(a, g, verifier)
    if isinstance(g, Equation):
        verdict = same_equation(a, g)
    else:
        verdict = ends_in(a, g) if isinstance(a, Equation) else same_quantity(a, g)
    return verifier.equal(a.text, g.text) if verdict is None else verdict


def _same_as_claim(a: Shape, g: Claim, verifier: Verifier) -> Settled:
    if isinstance(a, Quantity | Group):
        return same(a, g.value, verifier)
    return _same_text(a, Text(g.text, words=False), verifier)


def _agrees(work: str, value: Shape, verifier: Verifier) -> Settled:
    quantity = read_quantity(work)
    if quantity and isinstance(value, Quantity):
        return agrees(quantity, value)
    if (wrong := contradicts(work, value)) is not None:
        return not wrong
    if _INDEFINITE.match(work):
        return verifier.agrees(work, _ANY_CONSTANT.sub("", value.text))
    return verifier.agrees(work, value.text) if _COMPUTED.search(work) else True


def _same_text(a: Shape, g: Shape, verifier: Verifier) -> Settled:
    words = any(isinstance(shape, Text) and shape.words for shape in (a, g))
    if key_of(a.text, words) == key_of(g.text, words):
        return True
    if isinstance(g, Text) and isinstance(a, Quantity) and g.text.startswith(a.text + "_") and a.text.isalnum():
        return True  # 4130 for 4130_5: the question states the base
    if isinstance(a, Equation) and words:
        return any(key_of(side.text, words) == key_of(g.text, words) for side in a.sides) and all_of(
            agrees(side, a.sides[-1]) for side in a.sides[:-1]
        )
    if not isinstance(g, Text):
        # An answer outside the grammar is not worked out: (x^2)', \det, \int. Only dx/dt is a name, not work.
        return verifier.equal(a.text, g.text) if _RATE.fullmatch(a.text) and a.text[-2] != a.text[7] else False
    if words or any(isinstance(shape, Text) and _PROSE.search(shape.text) for shape in (a, g)):
        return False  # math-verify would pick a formula out of the prose
    if isinstance(a, Text | Claim) and not _commands(a.text) <= _commands(g.text) | _NOTATION:
        return False
    if isinstance(a, Quantity) and not variables(a.node) <= _CONSTANTS | _names(g.text):
        return False
    return verifier.equal(a.text, g.text)


def _names(text: str) -> set[str]:
    """The possible variables of a formula: its letters, Greek letters, and letters with a subscript."""
    subscripted = re.findall(r"(?:(?<=\\)[A-Za-z]+|[A-Za-z])_(?:\d+|[A-Za-z])", canonical(text))
    return {*subscripted, *re.findall("[A-Za-z]", text), *(name[1:] for name in _commands(text))}


def _commands(text: str) -> set[str]:
    return set(_COMMAND.findall(text))


def _same_group(a: Shape, g: Group, verifier: Verifier) -> Settled:
    if not isinstance(a, Group) or (_is_single(g) and a.kind not in ("list", "set")):
        return _is_single(g) and same(a, g.items[0], verifier)
    if _is_single(a) and g.kind not in ("list", "set"):
        return same(a.items[0], g, verifier)  # \{(3, 4)\}, the set of the one solution
    if named_values(g) or (g.kind in ("fence", "matrix") and named_values(a)):
        return _same_named(a, g, verifier)
    if g.kind in ("list", "set", "union"):
        # x < -2 or x > 2 is a list of two intervals, meaning their union
        kinds = ("union", "list") if g.kind == "union" else ("list", "set")
        return a.kind in kinds and _same_in_any_order(a.items, g.items, verifier)
    if g.kind == "fence" and a.kind == "fence":
        # With three or more entries it is not an interval, and the kind of brackets does not matter.
        return (a.fences == g.fences or len(g.items) > 2) and _same_in_order(a.items, g.items, verifier)
    if g.kind == "fence" and a.kind == "list":
        names = [item.name if isinstance(item, Equation) else "" for item in a.items]
        if any(names) and ("" in names or len({*names}) < len(names)):
            return False  # x = 3, x = 4 and x = 3, 4 are values of x, not a point
        return g.fences == "()" and _same_in_order(a.items, g.items, verifier)
    if not _factor_is_needed(a, g):
        return False
    if g.kind == a.kind:
        return _same_in_order(a.items, g.items, verifier)
    if {a.kind, g.kind} == {"matrix", "fence"} and {a.fences, g.fences} == {"", "()"}:
        return _same_in_order(_entries(a), _entries(g), verifier)
    return False


def _says_one(a: Group) -> bool:
    """Whether a group is a single answer, possibly in several notations: "3/8 or 0.375"."""
    if _is_single(a):
        return True
    values = [item for item in a.items if isinstance(item, Quantity)]
    return a.kind == "list" and len(values) == len(a.items) and all(same_quantity(x, values[0]) for x in values[1:])


def _is_single(group: Group) -> bool:
    return len(group.items) == 1 and group.kind in ("list", "set")


def _same_named(a: Group, g: Group, verifier: Verifier) -> Settled:
    """x = 3, y = 4 compared with the same, a tuple, or a bare list; the names say which value is which."""
    a_named, g_named = named_values(a), named_values(g)
    if a_named and g_named:
        return a_named.keys() == g_named.keys() and all_of(same(a_named[k], g_named[k], verifier) for k in g_named)
    unnamed = g if a_named else a
    in_order = unnamed.kind in ("list", "matrix") or (unnamed.kind == "fence" and unnamed.fences == "()")
    if not in_order:
        return False
    return _same_in_order(
        tuple(a_named.values()) if a_named else _entries(a),
        tuple(g_named.values()) if g_named else _entries(g),
        verifier,
    )


def _factor_is_needed(a: Group, g: Group) -> bool:
    """Whether the factor of a matrix avoids fractions in the gold; otherwise the product is unfinished work."""
    if a.factor is None or a.factor == g.factor:
        return True
    entries = [item for row in g.items if isinstance(row, Group) for item in row.items] or list(g.items)
    return any(not is_whole(item.node) for item in entries if isinstance(item, Quantity))


def _entries(group: Group) -> tuple[Shape, ...]:
    """The entries of a vector, written as a tuple or as a matrix of one column or row; () for any other matrix."""
    rows = [row.items for row in group.items if isinstance(row, Group)] if group.kind == "matrix" else [group.items]
    if len(rows) == 1:
        return rows[0]
    return tuple(row[0] for row in rows) if all(len(row) == 1 for row in rows) else ()


def _same_in_order(a: tuple[Shape, ...], g: tuple[Shape, ...], verifier: Verifier) -> Settled:
    return len(a) == len(g) > 0 and all_of(same(x, y, verifier) for x, y in zip(a, g, strict=True))


def _same_in_any_order(a: tuple[Shape, ...], g: tuple[Shape, ...], verifier: Verifier) -> Settled:
    if len(a) != len(g):
        return False
    left, unknown = list(a), False
    for item in g:
        verdicts = [same(other, item, verifier) for other in left]
        if True in verdicts:
            left.pop(verdicts.index(True))
        elif None in verdicts:
            unknown = True
        else:
            return False
    return None if unknown else True
