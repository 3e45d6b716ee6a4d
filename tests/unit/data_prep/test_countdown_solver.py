"""The countdown solver: finds a solution exactly when there is one, and always the same one."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.countdown.generate import to_row
from data_prep.countdown.published import (
    solve_problem,
)
from data_prep.countdown.solver import exact_solution, expression, first_solution, reachable_values, step_lines
from reward_fns import compute_score
from tests.helpers.countdown_checks import check_row


def brute_force(numbers: list[Fraction]) -> set[Fraction]:
    """All values over the rationals, negative ones included: every pair, every operator, every order."""
    if len(numbers) == 1:
        return set(numbers)
    values: set[Fraction] = set()
    for i, a in enumerate(numbers):
        for j, b in enumerate(numbers):
            if i != j:
                rest = [number for k, number in enumerate(numbers) if k not in (i, j)]
                made = [a + b, a - b, a * b] + ([a / b] if b else [])
                for value in made:
                    values |= brute_force([value, *rest])
    return values


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=2, max_size=3))
def test_the_exact_solver_solves_exactly_what_is_solvable(numbers: list[int]) -> None:
    reachable = {int(v) for v in brute_force([Fraction(n) for n in numbers]) if v.denominator == 1 and v >= 0}
    probed = sorted(reachable)[:15] + [target for target in range(12) if target not in reachable]
    for target in probed:
        solution = exact_solution(numbers, target)
        assert (solution is not None) == (target in reachable)
        if solution is not None:
            result = compute_score(
                "countdown", f"<answer>{expression(solution)}</answer>", {"numbers": numbers, "target": target}
            )
            assert result["score"] == 1.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 99), min_size=2, max_size=4), st.integers(1, 100), st.sampled_from(["+-*/", "+-", "*/"]))
def test_whole_number_solutions_are_found_whenever_there_are_any(
    numbers: list[int], target: int, operators: str
) -> None:
    def values(left: list[int]) -> set[int]:
        if len(left) == 1:
            return set(left)
        found: set[int] = set()
        for i, a in enumerate(left):
            for j, b in enumerate(left):
                if i == j:
                    continue
                rest = [number for k, number in enumerate(left) if k not in (i, j)]
                made = {"+": a + b, "*": a * b, "-": a - b, "/": a // b if a % b == 0 else 0}
                for operator in operators:
                    if made[operator] > 0:
                        found |= values([made[operator], *rest])
        return found

    solution = first_solution(numbers, reachable_values(numbers, operators), target, operators)
    assert (solution is not None) == (target in values(numbers))


def test_the_first_solution_is_the_one_the_published_data_shows() -> None:
    # the first permutation with a solution, fewest numbers on the left
    problem = solve_problem([44, 19, 35], 98)
    assert problem is not None
    assert expression(problem.solution) == "44 + (19 + 35)"
    assert step_lines(problem.solution) == ["19 + 35 = 54\n", "44 + 54 = 98\n"]


def test_problems_that_need_fractions_or_zero_get_readable_lines() -> None:
    for numbers, target in (([3, 3, 8, 8], 24), ([5, 5], 0), ([2, 2, 3, 5], 5)):
        problem = solve_problem(numbers, target)
        assert problem is not None
        check_row(to_row(problem, 0, "train"), positive=False)
    problem = solve_problem([3, 3, 8, 8], 24)
    assert problem is not None
    assert step_lines(problem.solution) == ["8 / 3 = (8/3)\n", "3 - (8/3) = (1/3)\n", "8 / (1/3) = 24\n"]
    assert solve_problem([1, 1, 1], 97) is None
