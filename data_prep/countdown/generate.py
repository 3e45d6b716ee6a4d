"""Countdown data: combine the given numbers with + - * / to reach a target, with worked solutions as hints.
Generates any number of problems, deterministically from the arguments; published.py imports existing ones.

Example: "Using the numbers [44, 19, 35], create an equation that equals 98." -> "44 + (19 + 35)", by the lines
"19 + 35 = 54", "44 + 54 = 98", "Therefore, the final equation is 44 + (19 + 35)".
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain, combinations_with_replacement, islice
from pathlib import Path

from data_prep.countdown.solver import (
    OPERATORS,
    Step,
    can_reach,
    expression,
    first_solution,
    reachable_values,
    step_lines,
)
from data_prep.prompt_styles import Question, completion_prompt
from data_prep.schema import Row, build_row
from data_prep.split import Prepared, write_generated

QUESTION = (
    "Using the numbers {numbers}, create an equation that equals {target}. You can use basic arithmetic operations "
    "(+, -, *, /) and each number can only be used once."
)
EXAMPLE = "(1 + 2) / 3"

# A problem's identity: the numbers in any order, and the target.
Key = tuple[tuple[int, ...], int]

MOST_NUMBERS = 6
# The most sets of numbers for which problems are counted, which takes about a second.
_MOST_COUNTED = 6_000
# Consecutive work without result after which the space counts as exhausted: seconds; a default problem takes under
# 5,000. In values that the numbers of a draw can make (plus a fixed cost), not in time: the same on every machine.
_MOST_WORK = 20_000_000
_WORK_PER_DRAW = 50
# Draws before another target is tried: large, so that targets stay uniform, as in the published data, although some are
# harder to reach; but an unreachable target (a prime, with * alone) must not end the search.
_DRAWS_PER_TARGET = 500


@dataclass(frozen=True)
class Space:
    """Which problems may be drawn; the defaults are those of the published data.

    sizes: how many numbers a problem has, each equally likely. max_number: numbers are 1..max_number and may repeat.
    targets: smallest and largest target. operators: what the worked solution may use (prompt and reward do not change).
    """

    sizes: tuple[int, ...] = (3, 4)
    max_number: int = 99
    targets: tuple[int, int] = (10, 100)
    operators: str = OPERATORS

    def __post_init__(self) -> None:
        if not set(self.sizes) <= set(range(2, MOST_NUMBERS + 1)) or not len(self.sizes) == len(set(self.sizes)) > 0:
            raise ValueError(f"sizes must be different numbers from 2 to {MOST_NUMBERS}, got {self.sizes}")
        if not 1 <= self.max_number <= 10_000:
            raise ValueError(f"max_number must be from 1 to 10000, got {self.max_number}")
        if len(self.targets) != 2 or not 1 <= self.targets[0] <= self.targets[1]:
            raise ValueError(f"targets must be (smallest, largest) with 1 <= smallest <= largest, got {self.targets}")
        if not set(self.operators) <= set(OPERATORS) or not len(self.operators) == len(set(self.operators)) > 0:
            raise ValueError(f"operators must be some of {OPERATORS}, each once, got {self.operators!r}")

    @property
    def upper_bound(self) -> int:
        """An upper bound on the number of problems: multisets of numbers times targets, solvable or not."""
        return self._multisets * (self.targets[1] - self.targets[0] + 1)

    @property
    def _multisets(self) -> int:
        return sum(math.comb(self.max_number + size - 1, size) for size in self.sizes)

    @cached_property
    def most(self) -> int:
        """The number of problems if it can be counted quickly, else `upper_bound`."""
        if self._multisets > _MOST_COUNTED:
            return self.upper_bound
        return sum(1 for _ in self._solvable())

    def _solvable(self) -> Iterator[int]:
        """The target of every problem that can be solved."""
        choices = range(1, self.max_number + 1)
        low, high = self.targets
        for numbers in chain.from_iterable(combinations_with_replacement(choices, size) for size in self.sizes):
            values = reachable_values(numbers, self.operators)
            yield from (target for target in range(low, high + 1) if can_reach(values, target, self.operators))

    def check_size(self, n: int) -> None:
        """Raises ValueError for more problems than there are."""
        # Counting stops at n, which is fast for usual values.
        few = self._multisets <= _MOST_COUNTED and sum(1 for _ in islice(self._solvable(), n)) < n
        if few or n > self.upper_bound:
            raise ValueError(
                f"asked for {n} countdown problems, but {self} has at most {self.most}; "
                "widen sizes, max_number or targets, or ask for fewer"
            )


@dataclass(frozen=True)
class Problem:
    numbers: tuple[int, ...]
    target: int
    solution: Step

    @property
    def key(self) -> Key:
        return canonical_key(self.numbers, self.target)


def canonical_key(numbers: Sequence[int], target: int) -> Key:
    """The identity of a problem: problems with the same key are the same question."""
    return tuple(sorted(numbers)), target


def prompt(numbers: Sequence[int], target: int) -> str:
    """The prompt in the completion style."""
    return completion_prompt(Question(QUESTION.format(numbers=list(numbers), target=target), EXAMPLE))


def row_key(row: Row) -> Key:
    """The identity of the problem in a countdown row."""
    truth = row["reward_model"]["ground_truth"]
    return canonical_key(truth["numbers"], int(truth["target"]))


def generate(n: int, seed: int, split: str, space: Space | None = None, exclude: Collection[Key] = ()) -> list[Problem]:
    """`n` different solvable problems, none with a key in `exclude`: a pure function of the arguments.

    A target is drawn, then numbers until they reach it with positive integer intermediate values. A smaller n gives the
    beginning of the same list. Raises ValueError if the space has fewer problems (or random draws no longer find any).
    """
    space = space or Space()
    if n > space.upper_bound:
        raise ValueError(
            f"{split}: asked for {n} countdown problems, but {space} has at most {space.upper_bound}; "
            "widen sizes, max_number or targets, or ask for fewer"
        )
    # Seeding with text uses SHA-512, and random() is the one method that Python guarantees not to change: the rows are
    # the same in every process and version.
    draw = random.Random(f"countdown {split} {seed}")
    seen = set(exclude)
    problems: list[Problem] = []
    while len(problems) < n:
        problem = _draw_problem(draw, space, seen)
        if problem is None:
            raise ValueError(
                f"{split}: random draws found only {len(problems)} of {n} countdown problems in {space} "
                f"({len(set(exclude))} problems were excluded); widen sizes, max_number, targets or operators, "
                "or ask for fewer"
            )
        seen.add(problem.key)
        problems.append(problem)
    return problems


def _draw_problem(draw: random.Random, space: Space, seen: set[Key]) -> Problem | None:
    size = space.sizes[int(draw.random() * len(space.sizes))]
    low, high = space.targets
    target = 0
    work = draws = 0
    while work < _MOST_WORK:
        if draws % _DRAWS_PER_TARGET == 0:
            target = low + int(draw.random() * (high - low + 1))
        numbers = tuple([1 + int(draw.random() * space.max_number) for _ in range(size)])
        values = reachable_values(numbers, space.operators)
        work += _WORK_PER_DRAW + sum(map(len, values))
        draws += 1
        if not can_reach(values, target, space.operators) or canonical_key(numbers, target) in seen:
            continue
        solution = first_solution(numbers, values, target, space.operators)
        assert solution is not None
        return Problem(numbers, target, solution)
    return None


def to_row(problem: Problem, index: int, split: str) -> Row:
    """The problem as a training row, with hint and prompt in the format of the published data."""
    final = expression(problem.solution)
    return build_row(
        prompt=prompt(problem.numbers, problem.target),
        hint=[*step_lines(problem.solution), f"Therefore, the final equation is {final}"],
        final_answer=final,
        data_source="countdown",
        ability="math",
        ground_truth={"numbers": list(problem.numbers), "target": problem.target},
        index=index,
        split=split,
    )


def prepare(
    out_dir: Path,
    n_train: int = 10_240,
    n_test: int = 1_024,
    seed: int = 0,
    sizes: Sequence[int] = (3, 4),
    max_number: int = 99,
    targets: tuple[int, int] = (10, 100),
    operators: str = OPERATORS,
    exclude: Collection[Key] = (),
) -> Prepared:
    """Writes out_dir/train.parquet and out_dir/test.parquet with disjoint, duplicate-free problems.

    The test file does not depend on n_train. exclude: problems that may be in neither file.
    """
    space = Space(tuple(sizes), max_number, targets, operators)
    space.check_size(n_train + n_test)
    drawn = partial(generate, seed=seed, space=space)
    return write_generated(out_dir, (n_train, n_test), drawn, to_row, row_key, "problem", exclude)
