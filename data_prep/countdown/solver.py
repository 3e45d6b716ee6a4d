"""Solves countdown problems exactly: combines all numbers with + - * / to reach the target.
The solution is available as an expression and as the lines of a worked solution."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

OPERATORS = "+-*/"


@dataclass(frozen=True, slots=True)
class Step:
    """A number of the problem (operator is ""), or `left operator right`."""

    value: int | Fraction
    operator: str = ""
    left: Step | None = None
    right: Step | None = None


def reachable_values(numbers: Sequence[int], operators: Collection[str] = OPERATORS) -> list[set[int]]:
    """For every proper subset of `numbers` (bit i of the index = number i) the values it can make.

    All numbers of a subset are used once; every intermediate value is a positive integer. The entry of the full set
    stays empty: testing it for one target (`can_reach`, `first_solution`) is far cheaper than listing its values.
    """
    add, subtract, multiply, divide = (operator in operators for operator in OPERATORS)
    full = (1 << len(numbers)) - 1
    values: list[set[int]] = [set() for _ in range(full + 1)]
    for position, number in enumerate(numbers):
        values[1 << position].add(number)
    for mask in range(3, full):
        made = values[mask]
        for one, other in _splits(mask):
            for a in values[one]:
                for b in values[other]:
                    if add:
                        made.add(a + b)
                    if multiply:
                        made.add(a * b)
                    large, small = (a, b) if a > b else (b, a)
                    if subtract and large != small:
                        made.add(large - small)
                    if divide and large % small == 0:
                        made.add(large // small)
    return values


@lru_cache(maxsize=256)
def _splits(mask: int) -> tuple[tuple[int, int], ...]:
    """All ways to split a set of at least two in two, each once (the lowest bit is always in the first part)."""
    rest = mask & (mask - 1)
    parts = []
    other = rest
    while other:
        parts.append((mask ^ other, other))
        other = (other - 1) & rest
    return tuple(parts)


def can_reach(values: list[set[int]], target: int, operators: Collection[str] = OPERATORS) -> bool:
    """Whether all the numbers together can make `target`; `values` and `operators` as in `reachable_values`."""
    return target > 0 and next(_last_steps(values, len(values) - 1, target, operators), None) is not None


def _last_steps(
    values: list[set[int]], mask: int, value: int, operators: Collection[str]
) -> Iterator[tuple[str, int, int, int, int]]:
    """Every last operation by which the numbers in `mask` make `value`: (operator, left mask, left, right mask, right).

    For each value of the smaller side of a split, it looks up the only possible partners in the larger side.
    """
    add, subtract, multiply, divide = (operator in operators for operator in OPERATORS)
    for one, other in _splits(mask):
        if len(values[one]) > len(values[other]):
            one, other = other, one
        partners = values[other]
        for a in values[one]:
            if add and value - a in partners:
                yield "+", one, a, other, value - a
            if subtract:
                if a - value in partners:
                    yield "-", one, a, other, a - value
                if value + a in partners:
                    yield "-", other, value + a, one, a
            if multiply and value % a == 0 and value // a in partners:
                yield "*", one, a, other, value // a
            if divide:
                if a % value == 0 and a // value in partners:
                    yield "/", one, a, other, a // value
                if a * value in partners:
                    yield "/", other, a * value, one, a


@dataclass(frozen=True, slots=True)
class _Ranked:
    """A solution of a subset. order: positions of the numbers as written. rank: (numbers on the left, rank of the left
    side, rank of the right side, operator), () for a single number. The smallest (order, rank) is the first."""

    order: tuple[int, ...]
    rank: tuple[Any, ...]
    step: Step


def first_solution(
    numbers: Sequence[int], values: list[set[int]], target: int, operators: Collection[str] = OPERATORS
) -> Step | None:
    """The first solution with positive integer intermediate values, or None. `values` as in reachable_values.

    "First": the numbers are in the first possible order (01..n, 02..), split with the fewest on the left, the left and
    then the right side solved the same way, with + before - before * before /. The published data does the same.
    """
    best: dict[tuple[int, int], _Ranked] = {
        (1 << at, number): _Ranked((at,), (), Step(number)) for at, number in enumerate(numbers)
    }

    def solve(mask: int, value: int) -> _Ranked | None:
        if (mask, value) in best:
            return best[mask, value]
        found: _Ranked | None = None
        for operator, one, left, other, right in _last_steps(values, mask, value, operators):
            a, b = solve(one, left), solve(other, right)
            assert a is not None
            assert b is not None
            for x, y in ((a, b), (b, a)) if operator in "+*" else ((a, b),):
                order, rank = x.order + y.order, (len(x.order), x.rank, y.rank, OPERATORS.index(operator))
                if found is None or (order, rank) < (found.order, found.rank):
                    found = _Ranked(order, rank, Step(value, operator, x.step, y.step))
        if found is not None:
            best[mask, value] = found
        return found

    solved = solve(len(values) - 1, target) if target > 0 else None
    return None if solved is None else solved.step


def exact_solution(numbers: Sequence[int], target: int) -> Step | None:
    """The first solution over the rationals (with fractions and zero as intermediate values), or None.

    Negative intermediate values are never needed: flipping the sign of a negative value turns additions into
    subtractions further up, and reaches the same (non-negative) target.
    """
    return _search([Step(Fraction(number)) for number in numbers], Fraction(target))


def _search(steps: list[Step], target: Fraction) -> Step | None:
    if len(steps) == 1:
        return steps[0] if steps[0].value == target else None
    for j in range(1, len(steps)):
        for i in range(j):
            rest = [step for k, step in enumerate(steps) if k not in (i, j)]
            for joined in _all_joins(steps[i], steps[j]):
                found = _search([joined, *rest], target)
                if found is not None:
                    return found
    return None


def _all_joins(a: Step, b: Step) -> Iterator[Step]:
    if a.value < b.value:
        a, b = b, a
    yield Step(a.value + b.value, "+", a, b)
    yield Step(a.value - b.value, "-", a, b)
    yield Step(a.value * b.value, "*", a, b)
    for over, under in ((a, b), (b, a)):
        if under.value != 0:
            yield Step(Fraction(over.value) / under.value, "/", over, under)


def expression(step: Step) -> str:
    """The solution as an expression with every operation but the outermost in parentheses: "44 + (19 + 35)"."""
    text = _nested(step)
    return text[1:-1] if step.operator else text


def _nested(step: Step) -> str:
    if step.left is None or step.right is None:
        return str(step.value)
    return f"({_nested(step.left)} {step.operator} {_nested(step.right)})"


def step_lines(step: Step) -> list[str]:
    """One line per operation, left side first: ["19 + 35 = 54\\n", "44 + 54 = 98\\n"]. Fractions are in brackets."""
    if step.left is None or step.right is None:
        return []
    line = f"{_operand(step.left)} {step.operator} {_operand(step.right)} = {_operand(step)}\n"
    return [*step_lines(step.left), *step_lines(step.right), line]


def _operand(step: Step) -> str:
    return str(step.value) if step.value.denominator == 1 else f"({step.value})"
