r"""Are two mathematical answers equal? `quick` decides by reading both; `equivalent` uses math-verify for the rest.

    quick("1/2", r"\frac{1}{2}")      {"equal": True, "readable": True, "how": "value"}
    quick(r"\int x", r"\iint y")      None: only the symbolic verifier can tell
Both are pure and bounded except for the verifier itself, which may hang and belongs in a killable process. An answer
must be worked out: 8 choose 4 is not 70.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from reward_fns.math.forms import Group, Shape, Text
from reward_fns.math.same import Verifier, same
from reward_fns.math.same_value import Settled, any_of
from reward_fns.math.shape import gold_readings, labelled, point_names, readings
from reward_fns.math.text import balanced, canonical, clean, explosive, without_claim

# Longer prose is not an answer.
_MAX_WORDS = 8
_MAX_WORDS_OF_GOLD = 40


# equal: the answers are the same. readable: it is an answer at all. how: what decided it, for logs and statistics.
Decision = dict[str, Any]


def quick(answer: str, gold: str) -> Decision | None:
    """The decision if reading both answers is enough (microseconds to milliseconds), else None. Never raises."""
    return _decide(answer, gold, _ELSEWHERE)


def _refused(a: str, g: str) -> bool:
    return explosive(a) or explosive(g)


_ELSEWHERE = Verifier(
    equal=lambda a, g: False if _refused(a, g) else None,
    agrees=lambda work, value: True if _refused(work, value) else None,
)


def equivalent(answer: str, gold: str) -> Decision:
    """The decision, by math-verify where `quick` cannot tell: it may hang or raise, so run it in a killable process."""
    from reward_fns.math import symbolic  # importing sympy takes a second, and few answers need it

    used: list[str] = []

    def equal(a: str, g: str) -> Settled:
        if _refused(a, g):
            return False
        used.append("symbolic")
        return bool(symbolic.same(a, g))

    def agrees(work: str, value: str) -> Settled:
        if _refused(work, value):
            return True
        used.append("symbolic")
        return symbolic.same(work, value) is not False

    decision = _decide(answer, gold, Verifier(equal, agrees))
    assert decision is not None
    return {**decision, "how": "symbolic"} if used and decision["how"] == "value" else decision


def check_gold(gold: str) -> None:
    """Raises ValueError unless `gold` is an answer that a response could give; otherwise its row is useless."""
    text = clean(gold) if isinstance(gold, str) else None
    if text is None:
        raise ValueError(f"the gold answer is empty, too long or not plain text: {gold!r:.200}")
    if not balanced(text):
        raise ValueError(f"the gold answer has unbalanced braces: {gold!r:.200}")
    if not any(_readable(shape, _MAX_WORDS_OF_GOLD) for shape in _readings(text)):
        raise ValueError(f"the gold answer is neither an expression nor a short text: {gold!r:.200}")


def normal_form(answer: str) -> str | None:
    """A normal form of the answer, equal for answers that differ only in notation; None if there is no answer."""
    text = clean(answer)
    return None if text is None else canonical(without_claim(text))


def _decide(answer: str, gold: str, verifier: Verifier) -> Decision | None:
    a_text, g_text = clean(answer), clean(gold)
    if a_text is None or g_text is None:
        return {"equal": False, "readable": False, "how": "empty"}
    bare = without_claim(a_text)
    if canonical(g_text) in (canonical(a_text), canonical(bare)):
        return {"equal": True, "readable": True, "how": "string"}
    shapes = _readings(bare)
    if not any(_readable(shape, _MAX_WORDS) for shape in shapes):
        return {"equal": False, "readable": False, "how": "unreadable"}
    golds = _gold_readings(g_text)
    if (mine := labelled(bare)) and (theirs := labelled(g_text)):
        # (D) 47 is not (C) 47, nor is (C) 48.
        shapes, golds = shapes[:1], golds[: mine[0] == theirs[0]]
    elif (named := point_names(bare)) and (as_gold := point_names(g_text)) and (named != as_gold or len(named) > 1):
        # Q(-2, 5) is not P(-2, 5); with several points it matters which is which.
        shapes, golds = shapes[:1], golds[:1]
    equal = any_of(same(shape, g, verifier) for g in golds for shape in shapes)
    return None if equal is None else {"equal": equal, "readable": True, "how": "value"}


@lru_cache(maxsize=4096)
def _readings(text: str) -> tuple[Shape, ...]:
    return tuple(readings(text))


@lru_cache(maxsize=4096)
def _gold_readings(text: str) -> tuple[Shape, ...]:
    return tuple(gold_readings(text))


def _readable(shape: Shape, max_words: int) -> bool:
    if isinstance(shape, Text):
        words = re.sub(r"\\[A-Za-z]+|[^A-Za-z ]", " ", shape.text).split()
        return balanced(shape.text) and len(words) <= max_words and any(sign.isalnum() for sign in shape.text)
    return not isinstance(shape, Group) or all(_readable(item, max_words) for item in shape.items)
