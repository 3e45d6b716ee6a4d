"""Wrong steps in a chain's solution: a step has a wrong state, and the next one continues from there."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product
from typing import Any

from data_prep.chain.problem import follow, step
from data_prep.chain.rows import LONGER, SOURCE, final_answer, lines, problem_of
from data_prep.schema import ANSWER_CLOSES, ANSWER_OPENS


def is_chain(row: Mapping[str, Any]) -> bool:
    """Whether a row belongs to this task."""
    return row["data_source"] in (SOURCE, LONGER)


def chain_with_wrong_steps(
    row: Mapping[str, Any], misses: Sequence[bool], draw: random.Random
) -> tuple[list[str], str]:
    """(hint, answer) with wrong states at the steps marked in `misses`, each of the other states equally likely."""
    others = problem_of(row["reward_model"]["ground_truth"]).space.states - 1
    return _told(row, [1 + int(draw.random() * others) if miss else 0 for miss in misses])


def chain_with_repeated_errors(row: Mapping[str, Any], share: float, seed: int) -> tuple[list[str], str, int]:
    """(hint, answer, wrong steps) of somebody who has learned a part of the rule wrongly: for a share of the pairs of a
    state and an input, at least one, every solution with this seed has the same wrong state."""
    problem = problem_of(row["reward_model"]["ground_truth"])
    mistaken = _mistaken(problem.space.states, share, seed)
    state, wrong = problem.start, []
    for move in problem.inputs:
        wrong.append(mistaken.get((state, move), 0))
        state = (step(problem.space, state, move) + wrong[-1]) % problem.space.states
    return *_told(row, wrong), sum(miss > 0 for miss in wrong)


def mistaken_pairs(states: int, share: float) -> tuple[int, int]:
    """(pairs of a state and an input after which repeated errors are made, all pairs)."""
    return max(1, round(share * states**2)), states**2


@cache
def _mistaken(states: int, share: float, seed: int) -> dict[tuple[int, int], int]:
    """By how much the state after (state, input) is off, for the pairs after which it is. A larger share has all pairs
    of a smaller one."""
    draw = random.Random(f"{seed} mistaken {states}")
    # Only random(), whose sequence Python guarantees.
    pairs = product(range(states), range(states))
    order = sorted((draw.random(), pair, 1 + int(draw.random() * (states - 1))) for pair in pairs)
    return {pair: off for _, pair, off in order[: mistaken_pairs(states, share)[0]]}


def _told(row: Mapping[str, Any], wrong: Sequence[int]) -> tuple[list[str], str]:
    """(hint, answer) whose step i is off by wrong[i]."""
    problem = problem_of(row["reward_model"]["ground_truth"])
    states = follow(problem.space, problem.start, problem.inputs, wrong)
    hint = lines(states)
    return hint, "".join(hint) + ANSWER_OPENS + final_answer(states) + ANSWER_CLOSES
