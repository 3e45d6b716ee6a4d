"""Chain problems: start at a state and apply inputs one after another; the answer lists every state along the way.
The search tree of the UFT paper as text: depth H, as many branches as states, one correct leaf.

Example (sum, 4 states): start 2, inputs 3, 1, 2 -> states 1, 2, 0.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Final, Literal, get_args

Rule = Literal["sum", "table", "parity"]
RULES: Final[tuple[Rule, ...]] = get_args(Rule)
MOST_STATES, MOST_STEPS = 100, 200

# A problem's identity: rule, states, table, start, inputs.
Key = tuple[str, int, int, int, tuple[int, ...]]


@dataclass(frozen=True)
class Space:
    """Which problems may be drawn.

    rule: how an input changes the state. "sum": their sum modulo `states`. "parity": the input's 1 bits flip the bits
    of the state, so that every bit of the state is the parity of a subset of the inputs (`states` is a power of two).
    "table": a hidden table, in which each input permutes the states; `table` is its number.
    depth: inputs per problem.
    """

    rule: Rule = "sum"
    states: int = 4
    depth: int = 10
    table: int = 0

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"--rule {self.rule}: must be one of {', '.join(RULES)}")
        if not 2 <= self.states <= MOST_STATES:
            raise ValueError(f"--states {self.states}: must be from 2 to {MOST_STATES}")
        if self.rule == "parity" and self.states & (self.states - 1):
            raise ValueError(f"--states {self.states}: must be a power of two for --rule parity")
        if not 1 <= self.depth <= MOST_STEPS:
            raise ValueError(f"--depth {self.depth}: must be from 1 to {MOST_STEPS}")
        if self.table and self.rule != "table":
            raise ValueError(f"--table {self.table}: only --rule table has one, not {self.rule}")

    @property
    def size(self) -> int:
        """How many problems there are."""
        return int(self.states ** (self.depth + 1))


@dataclass(frozen=True)
class Problem:
    space: Space
    start: int
    inputs: tuple[int, ...]

    @property
    def key(self) -> Key:
        """Two problems with the same key are the same question."""
        return (self.space.rule, self.space.states, self.space.table, self.start, self.inputs)

    @property
    def solution(self) -> tuple[int, ...]:
        """The state after each input."""
        return tuple(accumulate(self.inputs, lambda state, move: step(self.space, state, move), initial=self.start))[1:]


def step(space: Space, state: int, move: int) -> int:
    """The state that follows `state` on the input `move`."""
    if space.rule == "sum":
        return (state + move) % space.states
    if space.rule == "parity":
        return state ^ move
    return table_of(space.states, space.table)[move][state]


@cache
def table_of(states: int, number: int) -> tuple[tuple[int, ...], ...]:
    """[input][state] -> next state: for every input a permutation seeded by the table's number.

    With permutations all states stay equally likely at any depth, and no two paths merge.
    """
    draw = random.Random(f"chain table {states} {number}")
    return tuple(_permutation(draw, states) for _ in range(states))


def _permutation(draw: random.Random, n: int) -> tuple[int, ...]:
    # Only random(), whose sequence Python guarantees.
    return tuple(sorted(range(n), key=[draw.random() for _ in range(n)].__getitem__))


def generate(n: int, seed: int, split: str, space: Space, exclude: Collection[Key] = ()) -> list[Problem]:
    """`n` different problems, none with a key in `exclude`: a pure function of the arguments.

    A smaller n gives the beginning of the same list.

    Raises:
        ValueError: if the space has too few.
    """
    seen = {key for key in exclude if key[:3] == (space.rule, space.states, space.table) and len(key[4]) == space.depth}
    if n > space.size - len(seen):
        raise ValueError(
            f"{split}: asked for {n} chain problems, but of depth {space.depth} with {space.states} states there are "
            f"{space.size - len(seen)} ({len(seen)} excluded); ask for fewer, or for a greater depth or more states"
        )
    draw = random.Random(f"chain {split} {seed} {space.rule} {space.states} {space.depth}")
    problems: list[Problem] = []
    while len(problems) < n:
        start, *inputs = [int(draw.random() * space.states) for _ in range(space.depth + 1)]
        problem = Problem(space, start, tuple(inputs))
        if problem.key not in seen:
            seen.add(problem.key)
            problems.append(problem)
    return problems


def follow(space: Space, start: int, inputs: Sequence[int], wrong: Sequence[int]) -> tuple[int, ...]:
    """The states of a solution with wrong steps: step i is off by wrong[i] (0: correct), modulo `states`, and the next
    one continues from there."""
    states = [start]
    for move, miss in zip(inputs, wrong, strict=True):
        states.append((step(space, states[-1], move) + miss) % space.states)
    return tuple(states[1:])
