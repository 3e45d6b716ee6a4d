"""Checks of kk_logic rows that do not use the generator, its solver or its reasoner; and the published files."""

from __future__ import annotations

import ast
import re
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from data_prep.schema import Row, read_rows
from reward_fns.kk_logic.reward import score
from tests import ROOT

REFERENCE = ROOT.parent / "shared" / "reference_data" / "kk_logic"

_LEAF = re.compile(r"(\w+) is (not )?a (knight|knave)")
_CLAIM = (
    r"(If \w+ is a \w+ then \w+ is a \w+|\w+ is a \w+ (?:and|or|if and only if) \w+ is a \w+|\w+ is (?:not )?a \w+)"
)
_SAID = re.compile(
    rf"\"{_CLAIM},\" (\w+) \w+\."
    rf"|\"{_CLAIM}\" - (\w+)\."
    rf"|(?:In a statement by |According to |As |In )?(\w+)[^\"]*? \"?{_CLAIM}(?:\"\.|\.\"|\.)"
)


def reference(split: str) -> Path:
    path = REFERENCE / f"{split}.parquet"
    if not path.exists():
        pytest.skip(f"the published kk_logic data is not at {path}")
    return path


@cache
def published(split: str) -> list[Row]:
    return read_rows(reference(split))


def holds(statement: Any, roles: tuple[bool, ...]) -> bool:
    """Whether a statement, as nested tuples, is true in a world."""
    match statement:
        case ("telling-truth", person):
            return roles[person]
        case ("lying", person):
            return not roles[person]
        case ("not", inner):
            return not holds(inner, roles)
        case ("and", *parts):
            return all(holds(part, roles) for part in parts)
        case ("or", *parts):
            return any(holds(part, roles) for part in parts)
        case ("->", condition, consequence):
            return not holds(condition, roles) or holds(consequence, roles)
        case ("<=>", left, right):
            return holds(left, roles) == holds(right, roles)
    raise AssertionError(f"no statement: {statement!r}")


def worlds(statements: tuple[Any, ...]) -> list[tuple[bool, ...]]:
    """All assignments in which every speaker is a knight exactly if what they say is true."""
    everyone = product((True, False), repeat=len(statements))
    return [w for w in everyone if all(holds(s, w) == knight for s, knight in zip(statements, w, strict=True))]


def from_english(claim: str, names: list[str]) -> Any:
    """A claim in English as nested tuples."""
    leaves: list[Any] = []
    for name, negation, role in _LEAF.findall(claim):
        leaf: Any = ("telling-truth" if role == "knight" else "lying", names.index(name))
        leaves.append(("not", leaf) if negation else leaf)
    if len(leaves) == 1:
        return leaves[0]
    if claim.startswith("If "):
        return ("->", *leaves)
    joint = "<=>" if " if and only if " in claim else "and" if " and " in claim else "or"
    return (joint, *leaves)


def check_row(row: Row) -> None:
    """Checks question, statements, solution, every step of the hint, and the reward of the answer."""
    truth = row["reward_model"]["ground_truth"]
    names, solution = truth["names"], tuple(truth["solution"])
    statements = ast.literal_eval(truth["statements"])
    assert worlds(statements) == [solution], truth
    _check_question(row["prompt"][0]["content"], names, statements)
    _check_steps(row["hint"], names, statements)
    roles = ["knight" if knight else "knave" for knight in solution]
    lines = "\n".join(f"({i}) {name} is a {role}" for i, (name, role) in enumerate(zip(names, roles, strict=True), 1))
    assert truth["solution_text_format"] == lines
    assert row["answer"] == "".join(row["hint"]) + f" </think>\n<answer> {lines} </answer>"
    assert "".join(row["hint"]).endswith("\nTherefore, " + lines)
    assert score(row["answer"], truth).score == 1.0


def _check_question(prompt: str, names: list[str], statements: tuple[Any, ...]) -> None:
    listed = f"{names[0]} and {names[1]}" if len(names) == 2 else ", ".join(names[:-1]) + f", and {names[-1]}"
    start = f"You meet {len(names)} inhabitants: {listed}. "
    body = prompt[prompt.index(start) + len(start) : prompt.index(" So who is a knight and who is a knave? Show")]
    read: list[Any] = []
    at = 0
    for match in _SAID.finditer(body):
        assert body[at : match.start()].strip() == "", body
        at = match.end()
        claim_a, name_a, claim_b, name_b, name_c, claim_c = match.groups()
        assert (name_a or name_b or name_c) == names[len(read)], body
        read.append(from_english(claim_a or claim_b or claim_c, names))
    assert body[at:].strip() == ""
    assert tuple(read) == statements, body


def _check_steps(hint: list[str], names: list[str], statements: tuple[Any, ...]) -> None:
    assumed: dict[int, bool] = {}

    def possible(speaker: int) -> bool:
        return any(
            holds(statements[speaker], world) == world[speaker]
            for world in product((True, False), repeat=len(names))
            if all(world[person] == role for person, role in assumed.items())
        )

    for step in hint[: -len(names)]:
        if match := re.fullmatch(r"Assume (\w+) is a (knight|knave)\. ", step):
            assumed[names.index(match[1])] = match[2] == "knight"
            last = names.index(match[1])
        elif match := re.fullmatch(r"No contradiction is found in their (false )?claim that (.*)\.\n", step):
            assert (match[1] is None) == assumed[last]
            assert from_english(match[2], names) == statements[last]
            assert all(possible(speaker) for speaker in assumed), step
        elif match := re.fullmatch(
            r"(\w+) cannot be a (knight|knave), because this would contradict "
            r"the (false )?claim of (their own|\w+) that (.*)\.\n",
            step,
        ):
            person = names.index(match[1])
            speaker = person if match[4] == "their own" else names.index(match[4])
            assert person not in assumed
            assumed[person] = match[2] == "knight"
            assert from_english(match[5], names) == statements[speaker]
            assert (match[3] is None) == assumed[speaker]
            assert not possible(speaker), step
            del assumed[person]
        else:
            match = re.fullmatch(
                r"We have exhausted all possibilities for (.*), so let us go back and reconsider (\w+)\.\n", step
            )
            assert match, step
            for name in [*re.findall(r"\w+", match[1].replace(" and ", " ")), match[2]]:
                assumed.pop(names.index(name), None)
    assert len(assumed) == len(names)
    assert worlds(statements) == [tuple(assumed[person] for person in range(len(names)))]
