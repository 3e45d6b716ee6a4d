"""Chain problems as text: the question for each rule, a line per step, an answer that lists all states.

Example, start 2 and inputs 3, 1, sums modulo 4: the question ends "state 0: 2\\ninput 1: 3\\ninput 2: 1\\n", the
solution is "state 1: 1\\n", "state 2: 2\\n", the answer "(1) 1 (2) 2".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from data_prep.chain.problem import Key, Problem, Rule, Space
from data_prep.prompt_styles import Question, completion_prompt
from data_prep.schema import Row, build_row

SOURCE: Final = "chain"
LONGER: Final = "chain_longer"
"""Data source of test problems of other depths than those trained on, so that validation reports them separately."""

MOVES: Final[dict[Rule, str]] = {
    "sum": "Each input is added to the state, modulo {states}.",
    "table": "A fixed table, which is not shown, says which of the {states} states follows a state and an input.",
    "parity": "Each input flips those binary digits of the state, a number below {states}, that are 1 in the input.",
}
TASK: Final = (
    " Apply the inputs one after another, write down the state after each of them, and list all of these states."
)
EXAMPLE: Final = "(1) 3 (2) 0 (3) 2"


def question(problem: Problem) -> str:
    """The question, without the frame of a prompt style."""
    inputs = "".join(f"input {number}: {move}\n" for number, move in enumerate(problem.inputs, start=1))
    return f"{MOVES[problem.space.rule].format(states=problem.space.states)}{TASK}\nstate 0: {problem.start}\n{inputs}"


def prompt(problem: Problem) -> str:
    """The prompt in the completion style."""
    return completion_prompt(Question(question(problem), EXAMPLE))


def lines(states: Sequence[int]) -> list[str]:
    """The worked solution, one line per step."""
    return [f"state {number}: {state}\n" for number, state in enumerate(states, start=1)]


def final_answer(states: Sequence[int]) -> str:
    """The text between the answer tags."""
    return " ".join(f"({number}) {state}" for number, state in enumerate(states, start=1))


def to_row(problem: Problem, index: int, split: str, source: str = SOURCE) -> Row:
    """The problem as a row with its correct solution."""
    space, states = problem.space, problem.solution
    return build_row(
        prompt=prompt(problem),
        hint=lines(states),
        final_answer=final_answer(states),
        data_source=source,
        ability="reasoning",
        ground_truth={
            "rule": space.rule,
            "states": space.states,
            "table": space.table,
            "start": problem.start,
            "inputs": list(problem.inputs),
            "solution": list(states),
        },
        index=index,
        split=split,
    )


def problem_of(truth: Mapping[str, Any]) -> Problem:
    """The problem in a row's ground truth."""
    space = Space(truth["rule"], int(truth["states"]), len(truth["inputs"]), int(truth["table"]))
    return Problem(space, int(truth["start"]), tuple(int(move) for move in truth["inputs"]))


def row_key(row: Row) -> Key:
    """The identity of the problem in a chain row."""
    return problem_of(row["reward_model"]["ground_truth"]).key
