r"""Are two mathematical answers equal? `quick` decides by reading both; `equivalent` asks math-verify about the rest.

    quick("1/2", r"\frac{1}{2}")      {"equal": True, "readable": True, "how": "value"}
    quick(r"\int x", r"\iint y")      None: only the symbolic verifier can tell
Both are pure and bounded but for the verifier itself, which may take long or hang and belongs in a killable process.
An answer must be worked out: 8 choose 4 is not 70.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import lru_cache
from typing import Any

from reward_fns.math_expression import Node, Unreadable
from reward_fns.math_quantity import Quantity, measures_differ
from reward_fns.math_shape import Equation, Group, Shape, Text, key_of, readings
from reward_fns.math_text import balanced, canonical, clean, explosive, without_claim
from reward_fns.math_value import evaluate, rounds_to, same_function, variables, work_left

# Prose longer than this is no answer.
_MAX_WORDS = 8
_MAX_WORDS_OF_GOLD = 40
_ROOT = frozenset(("root",))
# Operations of formulas that the grammar does not read; an answer that still holds one is not worked out.
_OPERATION = re.compile(r"\\(?:i+nt|oint|sum|prod|lim|det|gcd|lcm|max|min|choose|begin\s*\{vmatrix)(?![A-Za-z])")
_PROSE = re.compile(r"(?<![\\A-Za-z{])[a-z]{4,}(?![A-Za-z])")


# equal: the same answer. readable: the answer is one at all. how: what settled it, for logs and statistics.
Decision = dict[str, Any]

# True, False, or None where only a symbolic verifier can tell.
Settled = bool | None
Symbolic = Callable[[str, str], Settled]


def quick(answer: str, gold: str) -> Decision | None:
    """The decision if reading both answers settles it (microseconds to milliseconds), else None. Never raises."""
    return _decide(answer, gold, lambda a, g: False if explosive(a) or explosive(g) else None)


def equivalent(answer: str, gold: str) -> Decision:
    """The decision, with math-verify for what `quick` leaves open: it may hang or raise, so run it where it can die."""
    from reward_fns.math_symbolic import same  # sympy takes a second to import, and few answers need it

    used: list[str] = []

    def symbolic(a: str, g: str) -> bool:
        if explosive(a) or explosive(g):
            return False
        used.append("symbolic")
        return same(a, g)

    decision = _decide(answer, gold, symbolic)
    assert decision is not None
    return {**decision, "how": "symbolic"} if used and decision["how"] == "value" else decision


def check_gold(gold: str) -> None:
    """Raises ValueError unless `gold` is an answer that a response could give; a row without one can teach nothing."""
    text = clean(gold) if isinstance(gold, str) else None
    if text is None:
        raise ValueError(f"the gold answer is empty, too long or not plain text: {gold!r:.200}")
    if not balanced(text):
        raise ValueError(f"the gold answer has unbalanced braces: {gold!r:.200}")
    if not any(_readable(shape, _MAX_WORDS_OF_GOLD) for shape in _readings(text)):
        raise ValueError(f"the gold answer is neither an expression nor a short text: {gold!r:.200}")


def normal_form(answer: str) -> str | None:
    """One spelling of the answer, equal for answers that differ in notation only; None if there is no answer."""
    text = clean(answer)
    return None if text is None else canonical(without_claim(text))


def _decide(answer: str, gold: str, symbolic: Symbolic) -> Decision | None:
    a_text, g_text = clean(answer), clean(gold)
    if a_text is None or g_text is None:
        return {"equal": False, "readable": False, "how": "empty"}
    bare = without_claim(a_text)
    if canonical(g_text) in (canonical(a_text), canonical(bare)):
        return {"equal": True, "readable": True, "how": "string"}
    shapes = _readings(bare)
    if not any(_readable(shape, _MAX_WORDS) for shape in shapes):
        return {"equal": False, "readable": False, "how": "unreadable"}
    equal = _any(_same(shape, g, symbolic) for g in _readings(g_text) for shape in shapes)
    return None if equal is None else {"equal": equal, "readable": True, "how": "value"}


@lru_cache(maxsize=4096)
def _readings(text: str) -> tuple[Shape, ...]:
    return tuple(readings(text))


def _readable(shape: Shape, max_words: int) -> bool:
    if isinstance(shape, Text):
        words = re.sub(r"\\[A-Za-z]+|[^A-Za-z ]", " ", shape.text).split()
        return balanced(shape.text) and len(words) <= max_words and any(sign.isalnum() for sign in shape.text)
    return not isinstance(shape, Group) or all(_readable(item, max_words) for item in shape.items)


def _any(verdicts: Iterable[Settled]) -> Settled:
    unknown = False
    for verdict in verdicts:
        if verdict:
            return True
        unknown = unknown or verdict is None
    return None if unknown else False


def _all(verdicts: Iterable[Settled]) -> Settled:
    unknown = False
    for verdict in verdicts:
        if verdict is False:
            return False
        unknown = unknown or verdict is None
    return None if unknown else True


def _same(a: Shape, g: Shape, symbolic: Symbolic) -> Settled:
    if isinstance(g, Group):
        return _same_group(a, g, symbolic)
    if isinstance(a, Group):
        return len(a.items) == 1 and a.kind in ("list", "set") and _same(a.items[0], g, symbolic)
    if isinstance(a, Text) or isinstance(g, Text):
        return _same_text(a, g, symbolic)
    if isinstance(g, Equation):
        verdict = _same_equation(a, g)
    else:
        verdict = _unwrapped(a, g) if isinstance(a, Equation) else _same_quantity(a, g)
    return symbolic(a.text, g.text) if verdict is None else verdict


def _same_text(a: Shape, g: Shape, symbolic: Symbolic) -> Settled:
    if key_of(a.text) == key_of(g.text):
        return True
    if isinstance(g, Text) and isinstance(a, Quantity) and g.text.startswith(a.text + "_") and a.text.isdigit():
        return True  # 4130 for 4130_5: the question names the base
    if any(isinstance(shape, Text) and (shape.words or _PROSE.search(shape.text)) for shape in (a, g)):
        return False  # math-verify would pick a formula out of the prose
    if not set(_OPERATION.findall(a.text)) <= set(_OPERATION.findall(g.text)):
        return False
    return symbolic(a.text, g.text)


def _same_group(a: Shape, g: Group, symbolic: Symbolic) -> Settled:
    if not isinstance(a, Group):
        if isinstance(a, Text) and not (a.words or _PROSE.search(a.text)) and g.kind in ("union", "matrix", "fence"):
            return symbolic(a.text, g.text)
        return len(g.items) == 1 and g.kind in ("list", "set") and _same(a, g.items[0], symbolic)
    if g.kind in ("list", "set", "union"):
        # x < -2 or x > 2 is a list of two intervals, and means their union
        kinds = ("union", "list") if g.kind == "union" else ("list", "set")
        return a.kind in kinds and _same_in_any_order(a.items, g.items, symbolic)
    if g.kind == "fence" and a.kind == "fence":
        # With three and more entries the brackets no longer tell an open interval from a closed one.
        return (a.fences == g.fences or len(g.items) > 2) and _same_in_order(a.items, g.items, symbolic)
    if g.kind == "fence" and a.kind == "list":
        return g.fences == "()" and _same_in_order(a.items, g.items, symbolic)
    if g.kind == a.kind:
        return _same_in_order(a.items, g.items, symbolic)
    if {a.kind, g.kind} == {"matrix", "fence"} and {a.fences, g.fences} == {"", "()"}:
        return _same_in_order(_entries(a), _entries(g), symbolic)
    return False


def _entries(group: Group) -> tuple[Shape, ...]:
    """The entries of a vector, written as a tuple or as a matrix of one column or row; () for any other matrix."""
    rows = [row.items for row in group.items if isinstance(row, Group)] if group.kind == "matrix" else [group.items]
    if len(rows) == 1:
        return rows[0]
    return tuple(row[0] for row in rows) if all(len(row) == 1 for row in rows) else ()


def _same_in_order(a: tuple[Shape, ...], g: tuple[Shape, ...], symbolic: Symbolic) -> Settled:
    return len(a) == len(g) > 0 and _all(_same(x, y, symbolic) for x, y in zip(a, g, strict=True))


def _same_in_any_order(a: tuple[Shape, ...], g: tuple[Shape, ...], symbolic: Symbolic) -> Settled:
    if len(a) != len(g):
        return False
    left, unknown = list(a), False
    for item in g:
        verdicts = [_same(other, item, symbolic) for other in left]
        if True in verdicts:
            left.pop(verdicts.index(True))
        elif None in verdicts:
            unknown = True
        else:
            return False
    return None if unknown else True


def _same_equation(a: Quantity | Equation, g: Equation) -> Settled:
    if isinstance(a, Quantity):
        return bool(g.name) and len(g.sides) == 2 and _same_quantity(a, g.sides[1])
    if g.name and not variables(g.sides[-1].node):
        return a.name == g.name and _unwrapped(a, g.sides[-1])  # x = 5 is the solution, 2x = 10 the question
    if len(a.sides) == len(g.sides) == 2:
        if a.name and g.name and (a.name == g.name or "(" in a.name + g.name):
            return a.name == g.name and _same_quantity(a.sides[1], g.sides[1])
        return _same_nodes(_difference(a), _difference(g), proportional=True)
    return bool(g.name) and _unwrapped(a, g.sides[-1])


def _difference(equation: Equation) -> Node:
    return ("-", equation.sides[0].node, equation.sides[1].node)


def _unwrapped(a: Equation, g: Quantity) -> Settled:
    """An equation as the answer where a value is asked for: its last side counts, and no other may say otherwise."""
    others = a.sides[1:-1] if a.name else a.sides[:-1]
    # "a + b = 5" names what is asked for; "2x - y = 5" and "3 = 5" say something else
    saying = [side for side in others if not variables(side.node) or re.search(r"(?<![_^{\d])\d", side.text)]
    return _all(_same_quantity(side, g) for side in (a.sides[-1], *saying))


def _same_quantity(a: Quantity, g: Quantity) -> Settled:
    """Whether two quantities are the same, in any of the meanings that their notation has."""
    if a.product is None and g.product is None:
        return _same_meaning(a, g)
    products = [_same_nodes(x, y) for x in (a.product, a.node) for y in (g.product, g.node) if x and y]
    # 5 m against 5 m: the first pair decides; against 5: the last one, which must mind the units
    return _any([*products[:-1], _same_meaning(a, g)])


def _same_meaning(a: Quantity, g: Quantity) -> Settled:
    if measures_differ(a.unit, g.unit) or ((a.special or g.special) and (a.unit or g.unit)):
        return False
    if a.special == g.special or not (a.special or g.special):
        same = _same_nodes(a.node, g.node)
        return _rounds(a, g) if same is False else same
    if a.special and g.special:
        return False
    marked, plain = (a, g) if a.special else (g, a)
    scaled: Node = ("call", "deg", marked.node)
    if marked.special == "%":
        scaled = ("/", marked.node, ("num", Fraction(100)))
    return _any(_same_nodes(node, plain.node) for node in (marked.node, scaled))


def _rounds(a: Quantity, g: Quantity) -> Settled:
    """Whether the gold is a decimal of three or more digits that an exact, endless answer rounds to (3.14 for pi)."""
    digits = re.fullmatch(r"-?(\d*)\.(\d+)", g.text.strip())
    if not digits or len((digits[1] + digits[2]).lstrip("0")) < 3 or variables(a.node):
        return False
    if not work_left(a.node) <= _ROOT:
        return False
    try:
        return rounds_to(evaluate(a.node, {}), evaluate(g.node, {}), len(digits[2]))
    except Unreadable:
        return False


def _same_nodes(a: Node, g: Node, proportional: bool = False) -> Settled:
    if a == g:
        return True
    same = same_function(a, g, proportional)
    return same and (bool(variables(a)) or _worked_out(a, g))


def _worked_out(a: Node, g: Node) -> bool:
    """Whether a constant leaves no more to work out than the gold does; else the question itself would be an answer
    (sin 30 degrees for 1/2, 8 choose 4 for 70)."""
    return work_left(a) <= work_left(g) | (frozenset() if _is_rational(g) else _ROOT)


def _is_rational(node: Node) -> bool:
    try:
        return isinstance(evaluate(node, {}), Fraction)
    except Unreadable:
        return False
