"""Checks of chain rows that do not use the generator: the text is read back and the rules are written anew."""

from __future__ import annotations

import re
from collections.abc import Sequence

from data_prep.chain.problem import Space, generate
from data_prep.chain.rows import to_row
from data_prep.schema import Row
from reward_fns import compute_score

# Table 0 of 4 states, input by input: copied from what the generator drew, so that a change of it is seen.
TABLE_0 = ((1, 2, 0, 3), (0, 2, 3, 1), (3, 2, 1, 0), (2, 1, 3, 0))


def walk(rule: str, states: int, start: int, inputs: Sequence[int]) -> list[int]:
    """The states on the way, by a second implementation of the rules (the table: only number 0 of 4 states)."""
    found = []
    for move in inputs:
        if rule == "sum":
            start = start + move - states if start + move >= states else start + move
        elif rule == "parity":
            bits = [(start >> place) % 2 != (move >> place) % 2 for place in range(states.bit_length())]
            start = sum(2**place for place, bit in enumerate(bits) if bit)
        else:
            start = TABLE_0[move][start]
        found.append(start)
    return found


def check_row(row: Row) -> None:
    """The question says what the ground truth says, the solution follows from the question, the reward agrees."""
    truth = row["reward_model"]["ground_truth"]
    text = row["prompt"][0]["content"]
    (start,) = re.findall(r"^state 0: (\d+)$", text, re.MULTILINE)
    asked = re.findall(r"^input (\d+): (\d+)$", text, re.MULTILINE)
    assert [int(number) for number, _ in asked] == list(range(1, len(asked) + 1))
    inputs = [int(move) for _, move in asked]
    (states,) = re.findall(r"modulo (\d+)|which of the (\d+) states|a number below (\d+)", text)
    size = int("".join(states))
    rule = "sum" if "modulo" in text else "table" if "fixed table" in text else "parity"
    assert (truth["rule"], truth["states"], truth["start"], truth["inputs"]) == (rule, size, int(start), inputs)
    assert all(0 <= value < size for value in (*inputs, int(start)))
    solution = walk(rule, size, int(start), inputs)
    assert truth["solution"] == solution
    assert row["hint"] == [f"state {number}: {state}\n" for number, state in enumerate(solution, 1)]
    listed = " ".join(f"({number}) {state}" for number, state in enumerate(solution, 1))
    assert row["answer"] == "".join(row["hint"]) + f" </think>\n<answer> {listed} </answer>"
    assert text.endswith("\n<think> ")
    assert compute_score("chain", row["answer"], truth)["score"] == 1.0
    assert compute_score("chain", "".join(row["hint"]), truth)["score"] == 0.0


def rows_of(n: int, space: Space, seed: int = 0, split: str = "train") -> list[Row]:
    return [to_row(problem, index, split) for index, problem in enumerate(generate(n, seed, split, space))]
