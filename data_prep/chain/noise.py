"""Wrong steps in a chain's solution: a step has a wrong state, and the next one continues from there."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from data_prep.chain.problem import follow
from data_prep.chain.rows import LONGER, SOURCE, final_answer, lines, problem_of
from data_prep.schema import ANSWER_CLOSES, ANSWER_OPENS


def is_chain(row: Mapping[str, Any]) -> bool:
    """Whether a row belongs to this task."""
    return row["data_source"] in (SOURCE, LONGER)


def chain_with_wrong_steps(
    row: Mapping[str, Any], misses: Sequence[bool], draw: random.Random
) -> tuple[list[str], str]:
    """(hint, answer) with wrong states at the steps marked in `misses`, each of the other states equally likely."""
    problem = problem_of(row["reward_model"]["ground_truth"])
    others = problem.space.states - 1
    wrong = [1 + int(draw.random() * others) if miss else 0 for miss in misses]
    states = follow(problem.space, problem.start, problem.inputs, wrong)
    hint = lines(states)
    return hint, "".join(hint) + ANSWER_OPENS + final_answer(states) + ANSWER_CLOSES
