r"""What counts as worked out: an answer may not leave a kind of work (operators.py) that the gold does not leave.
Otherwise the question itself would be an answer: \binom{8}{4} for 70, (x^2)' for 2x.

Plain arithmetic (2^{10}, 12 \cdot 13), products of letters and common denominators denote a value and are not work.
"""

from __future__ import annotations

from fractions import Fraction

from reward_fns.math.expression import Node, Unreadable, nodes
from reward_fns.math.operators import COMPLEX, HYPERBOLIC, KIND_OF, LOGARITHM, PIECE, POWER_OF_E, ROOT, TRIGONOMETRY
from reward_fns.math.value import evaluate, variables

Kinds = frozenset[str]

_NONE: Kinds = frozenset()
# What remains in exact values that are not fractions: sqrt(2), e^2.
IRRATIONAL: Kinds = frozenset((ROOT, POWER_OF_E))
# Not work, but it shows how the gold writes powers: x^{a/b} is as good as a root.
_LETTERS_ABOVE = "quotient with letters as a power"


def work_left(node: Node) -> Kinds:
    """The kinds of work that a tree leaves undone."""
    own = KIND_OF.get(node[1] if node[0] == "call" else node[0])
    if node[0] == "^":
        own = _kind_of_power(node[1], node[2])
    elif node[0] in ("*", "/") and _is_complex_work(node):
        own = COMPLEX
    elif (node[0] == "root" or node[:2] == ("call", "sqrt")) and (_fraction(node[2]) or 0) < 0:
        own = COMPLEX  # sqrt(-12) should be written as bi
    parts = [work_left(part) for part in node[1:] if isinstance(part, tuple)]
    if own is None and not any(parts):
        return _NONE
    return frozenset((own,) if own else ()).union(*parts)


def _kind_of_power(base: Node, exponent: Node) -> str | None:
    if base == ("const", "e"):
        return POWER_OF_E
    if variables(exponent):
        return _LETTERS_ABOVE if any(part[0] == "/" for part in nodes(exponent)) else None
    if not is_whole(exponent):
        return ROOT
    return COMPLEX if _is_complex(base) else None


def _is_complex_work(node: Node) -> bool:
    """(1+i)(2-i) and \\frac{5}{1+2i} should be written as a + bi; 3i and \\frac{1+i}{2} are."""
    if not _is_complex(node[2]) or variables(node):
        return False
    return node[0] == "/" or _is_complex(node[1])


def _is_complex(node: Node) -> bool:
    return ("const", "i") in nodes(node)


def worked_out(a: Node, g: Node) -> bool:
    """Whether `a` leaves no more work than the gold `g`, which has the same value; nor a letter that cancels, as in
    \\frac{3x}{x} for 3."""
    if not variables(a) <= variables(g):
        return False
    left = work_left(a) - {_LETTERS_ABOVE}
    return not left or left <= _allowed(g)


def _allowed(g: Node) -> Kinds:
    kinds = work_left(g)
    letters = bool(variables(g))
    if not letters and not is_rational(g):
        kinds |= IRRATIONAL
    if letters:
        kinds |= {POWER_OF_E}
        if ROOT in kinds or PIECE in kinds or _LETTERS_ABOVE in kinds:
            kinds |= {ROOT, PIECE}
        if any(part == ("const", "e") or part[:2] == ("call", "exp") for part in nodes(g)):
            kinds |= {TRIGONOMETRY, HYPERBOLIC}
    if TRIGONOMETRY in kinds or HYPERBOLIC in kinds:
        kinds |= IRRATIONAL
    if LOGARITHM in kinds or HYPERBOLIC in kinds:
        kinds |= {POWER_OF_E, ROOT}
    return kinds


def is_rational(node: Node) -> bool:
    """Whether the exact value of a tree without letters is a fraction."""
    return _fraction(node) is not None


def is_whole(node: Node) -> bool:
    """Whether the exact value of a tree without letters is an integer."""
    value = _fraction(node)
    return value is not None and value.denominator == 1


def _fraction(node: Node) -> Fraction | None:
    try:
        value = None if variables(node) else evaluate(node, {})
    except Unreadable:
        return None
    return value if isinstance(value, Fraction) else None
