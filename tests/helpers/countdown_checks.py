"""Checks of countdown rows that do not use the generator, and the published files to compare with."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest

from data_prep.countdown.generate import Space, generate, to_row
from data_prep.schema import Row, read_rows
from reward_fns import compute_score
from reward_fns.expression import read_expression
from tests import ROOT

REFERENCE = ROOT.parent / "shared" / "reference_data" / "countdown"


def reference(split: str) -> Path:
    path = REFERENCE / f"{split}.parquet"
    if not path.exists():
        pytest.skip(f"the published countdown data is not at {path}")
    return path


@cache
def published(split: str) -> list[Row]:
    return read_rows(reference(split))


def check_row(row: Row, positive: bool = True) -> None:
    """Checks a row without the generator: the reward accepts it and its lines are true and use what is there."""
    truth = row["reward_model"]["ground_truth"]
    result = compute_score("countdown", row["answer"], truth)
    assert (result["score"], result["reward_error"]) == (1.0, 0.0), row["answer"]
    at_hand = sorted(Fraction(number) for number in truth["numbers"])
    *lines, last = row["hint"]
    assert len(lines) == len(truth["numbers"]) - 1
    for line in lines:
        left, right = line.removesuffix("\n").split(" = ")
        calculation, stated = read_expression(left), read_expression(right)
        assert calculation is not None
        assert stated is not None
        value = stated.value()
        assert value is not None
        assert calculation.value() == value, line
        if positive:
            assert value > 0
            assert value.denominator == 1
        else:
            assert value >= 0
        # Take the two operands off the table, put the result on it.
        for operand in split_operands(left):
            assert operand in at_hand, f"{operand} of {line!r} is not at hand: {at_hand}"
            at_hand.remove(operand)
        at_hand.append(value)
    assert at_hand == [truth["target"]]
    final = last.removeprefix("Therefore, the final equation is ")
    assert row["answer"] == "".join(row["hint"]) + f" </think>\n<answer> {final} </answer>"
    prompt = row["prompt"][0]["content"]
    assert f"Using the numbers {truth['numbers']}, create an equation that equals {truth['target']}." in prompt
    assert prompt.endswith("\n<think> ")


def split_operands(calculation: str) -> list[Fraction]:
    for operator in (" + ", " - ", " * ", " / "):
        if operator in calculation:
            return [Fraction(side.strip("()")) for side in calculation.split(operator)]
    raise AssertionError(f"no operator in {calculation!r}")


def rows_of(n: int, seed: int = 0, split: str = "train", space: Space | None = None) -> list[Row]:
    return [to_row(problem, index, split) for index, problem in enumerate(generate(n, seed, split, space))]


RESULT_KEYS = {"score", "acc", "format", "parse_fail", "reward_error", "pred", "partial", "timeout"}


def judged(response: str, numbers: object = (2, 3, 4), target: object = 24) -> dict[str, float | str]:
    result = compute_score("countdown", response, {"numbers": numbers, "target": target})
    assert set(result) == RESULT_KEYS
    assert result["reward_error"] == 0.0
    assert result["format"] == 1.0 - float(result["parse_fail"])
    assert result["acc"] == float(result["score"] == 1.0)
    str(result["pred"]).encode("utf-8")
    return result
