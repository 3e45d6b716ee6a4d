"""Countdown reward: does the expression in the answer tags use every given number once and reach the target?
1.0 if it does, 0.1 for a readable expression that does not, 0.0 if nothing could be read.

Example: numbers [44, 19, 35], target 98, response "19 + 35 = 54\\n... </think>\\n<answer> 44 + (19 + 35) </answer>".
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from reward_fns.answer_tags import read_answer
from reward_fns.expression import Expression, read_expression
from reward_fns.verdict import Verdict, listed, shown


def score(response: str, ground_truth: Any) -> Verdict:
    """Judges one response (generation only, no prompt) against {"numbers": whole numbers, "target": whole number}.

    Numbers may be a list, tuple or numpy array; the target may also be a string of digits. No response raises; a
    malformed ground truth raises ValueError.
    """
    numbers, target = read_ground_truth(ground_truth)
    reading = read_answer(response, _read)
    correct = reading.value is not None and _solves(reading.value, numbers, target)
    return Verdict(correct=correct, readable=reading.value is not None or reading.hedged, pred=reading.text)


def _read(text: str) -> Expression | None:
    """The expression in an answer block, without bold or code marks and a full stop at its end."""
    text = text.removesuffix(".")
    for mark in ("```", "`", "**", "__"):
        if len(text) > 2 * len(mark) and text.startswith(mark) and text.endswith(mark):
            text = text[len(mark) : -len(mark)].strip()
    return read_expression(text.removesuffix("."))


def read_value(text: str) -> Fraction | None:
    """The value of the expression in an answer block; None if there is none, or it divides by zero."""
    expression = _read(text)
    return None if expression is None else expression.value()


def _solves(expression: Expression, numbers: list[int], target: int) -> bool:
    if expression.negates or expression.contradicts:
        return False
    return sorted(expression.numbers) == numbers and expression.value() == target


def read_ground_truth(ground_truth: Any) -> tuple[list[int], int]:
    """(sorted numbers, target) of a countdown ground truth; ValueError says which part is wrong and what it was."""
    if not isinstance(ground_truth, Mapping):
        raise ValueError(f"countdown ground truth must be {{numbers, target}}, got {shown(ground_truth)}")
    for key in ("numbers", "target"):
        if ground_truth.get(key) is None:
            raise ValueError(f"countdown ground truth lacks {key!r}: {shown(ground_truth)}")
    numbers = sorted(_whole_number(number, "numbers") for number in listed("countdown", ground_truth, "numbers"))
    if numbers[0] < 0:
        raise ValueError(f"countdown ground truth 'numbers' must not be negative, got {shown(numbers)}")
    return numbers, _whole_number(ground_truth["target"], "target")


def _whole_number(value: Any, key: str) -> int:
    if type(value) is int:
        return value
    # UFT's mixed evaluation file stores the targets of all tasks as text.
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    if not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise ValueError(f"countdown ground truth {key!r} must hold whole numbers, got {shown(value)}")
