"""Fewer and worse solutions for any task: which problems keep theirs, which steps are wrong, whose solution is shown.
Every random choice depends only on the seed and the question, not the prompt style; the share .1 is a subset of .3."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

from data_prep.chain.noise import chain_with_repeated_errors, chain_with_wrong_steps, is_chain
from data_prep.prompt_styles import question_text
from data_prep.schema import ANSWER_CLOSES, ANSWER_OPENS

Whose = Literal["own", "sham"]
Errors = Literal["random", "repeated"]

_NUMBER = re.compile(r"(?<![\d.])\d+(?![\d]|\.\d)")
_ROLE = re.compile(r"\b(knight|knave)\b")
_OTHER_ROLE = {"knight": "knave", "knave": "knight"}


@dataclass(frozen=True)
class Demonstrations:
    """share: of problems that keep their solution. noise: probability that a step is wrong. whose: "sham" replaces each
    solution by that of another problem. errors: "repeated" makes the same errors in all solutions: noise is the share
    of a chain's pairs of state and input after which they are wrong."""

    share: float = 1.0
    noise: float = 0.0
    whose: Whose = "own"
    errors: Errors = "random"

    def __post_init__(self) -> None:
        for name, value in (("demonstrations", self.share), ("demonstration_noise", self.noise)):
            if not 0 <= value <= 1:
                raise ValueError(f"--{name} {value}: must be from 0 to 1")
        if self.whose not in ("own", "sham"):
            raise ValueError(f"--hints {self.whose}: must be own or sham")
        if self.errors not in ("random", "repeated"):
            raise ValueError(f"--demonstration_errors {self.errors}: must be random or repeated")
        if self.errors == "repeated" and not self.noise:
            raise ValueError("--demonstration_errors repeated: there are none; add --demonstration_noise .1")

    @property
    def changes(self) -> bool:
        """Whether this changes the data at all."""
        return self != Demonstrations()


@dataclass(frozen=True)
class Count:
    """Numbers of rows, of rows with a solution, and of steps in them."""

    problems: int
    solved: int
    steps: int
    wrong: int

    def __str__(self) -> str:
        steps = f"{self.wrong} of their {self.steps} steps are wrong"
        return f"{self.solved} of {self.problems} problems have a solution; {steps}"


def rewritten(rows: Sequence[Mapping[str, Any]], how: Demonstrations, seed: int) -> tuple[list[dict[str, Any]], Count]:
    """The rows with their solutions changed by `how`; one without a solution has an empty hint and an empty answer.

    Prompts and ground truths do not change. A sham solution belongs to another question, if possible of the same
    source; wrong steps are introduced into the solution that is shown.

    Raises:
        ValueError: for sham solutions if all questions are the same; for repeated errors in another task than chain.
    """
    asked = [question_text(row["prompt"]) for row in rows]
    solved_rows = [number for number, row in enumerate(rows) if row.get("hint") or row.get("answer")]
    donors = _others(solved_rows, [str(row["data_source"]) for row in rows], asked, seed)
    found: list[dict[str, Any]] = []
    solved = steps = wrong = 0
    for number, (row, question) in enumerate(zip(rows, asked, strict=True)):
        if number not in donors or place(seed, "demonstration", question) >= how.share:
            found.append({**row, "hint": [], "answer": ""})
            continue
        if how.whose == "sham" and donors[number] == number:
            raise ValueError("--hints sham: all problems that have a solution ask the same question")
        donor = rows[donors[number]]
        shown = donor if how.whose == "sham" else row
        hint, answer = list(shown.get("hint") or []), shown["answer"]
        if how.errors == "repeated":
            if not is_chain(shown):
                raise ValueError(f"--demonstration_errors repeated: only for --data chain, not {shown['data_source']}")
            hint, answer, missed = chain_with_repeated_errors(shown, how.noise, seed)
            found.append({**row, "hint": hint, "answer": answer})
            solved, steps, wrong = solved + 1, steps + len(hint), wrong + missed
            continue
        draw = random.Random(f"{seed} steps {question}")
        misses = [draw.random() < how.noise for _ in hint]
        if any(misses):
            hint, answer = _with_wrong_steps(shown, misses, donor.get("hint") or [], draw)
        found.append({**row, "hint": hint, "answer": answer})
        solved, steps = solved + 1, steps + len(hint)
        wrong += sum(
            # A chain's wrong step may reach the correct state again; a text with nothing to change stays as it is.
            miss and (is_chain(shown) or step != before)
            for miss, step, before in zip(misses, hint, shown.get("hint") or [], strict=True)
        )
    return found, Count(len(rows), solved, steps, wrong)


def place(seed: int, what: str, question: str) -> float:
    """A hash of a question in [0, 1): the same in every process, independent of other questions."""
    digest = hashlib.blake2b(f"{seed}|{what}|{question}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _others(rows: Sequence[int], sources: Sequence[str], asked: Sequence[str], seed: int) -> dict[int, int]:
    """For each of these rows, one with another question: the next in an order by hash, from the same source if
    possible; the row itself if all questions are the same."""
    order = sorted(rows, key=lambda row: (place(seed, "sham", asked[row]), row))
    by_source: dict[str, list[int]] = {}
    for row in order:
        by_source.setdefault(sources[row], []).append(row)
    found: dict[int, int] = {}
    for each in (*by_source.values(), order):
        # Equal questions are adjacent in the order, followed by the next different one.
        starts = [at for at, row in enumerate(each) if asked[row] != asked[each[at - 1]]]
        for start, end in zip(starts, [*starts[1:], starts[0]], strict=True) if starts else ():
            stop = end if end > start else len(each) + end
            for at in range(start, stop):
                found.setdefault(each[at % len(each)], each[end])
    return {row: found.get(row, row) for row in rows}


def _with_wrong_steps(
    row: Mapping[str, Any], misses: Sequence[bool], donor: Sequence[str], draw: random.Random
) -> tuple[list[str], str]:
    """(hint, answer) with wrong steps, from which the solution continues as far as a text can."""
    if is_chain(row):
        return chain_with_wrong_steps(row, misses, draw)
    return wrong_text(row["hint"], row["answer"], misses, donor, draw)


def wrong_text(
    hint: Sequence[str], answer: str, misses: Sequence[bool], donor: Sequence[str], draw: random.Random
) -> tuple[list[str], str]:
    """Any solution with wrong steps: a knight becomes a knave (or the reverse), else the step's last number becomes
    another with as many digits, also in later steps and the answer; a step without either is replaced by `donor`'s.

    If the reasoning ends with the final answer, it still does.
    """
    reasoning = "".join(hint)
    final = answer[len(reasoning) :].removeprefix(ANSWER_OPENS).removesuffix(ANSWER_CLOSES)
    tail = _where(hint, len(reasoning) - len(final)) if final and reasoning.endswith(final) else None
    taken: dict[str, str] = {}
    steps: list[str] = []
    for number, (step, miss) in enumerate(zip(hint, misses, strict=True)):
        now = _replaced(step, taken)
        if miss:
            now = _wrong_step(step, now, donor[number % len(donor)] if donor else now, taken, draw)
        steps.append(now)
    rest = _replaced(answer[len(reasoning) :], taken)
    if tail is not None:
        segment, offset = tail
        rest = ANSWER_OPENS + steps[segment][offset:] + "".join(steps[segment + 1 :]) + ANSWER_CLOSES
    return steps, "".join(steps) + rest


def _where(hint: Sequence[str], at: int) -> tuple[int, int]:
    """(segment, offset in it) of a character of the joined hint."""
    starts = [0, *accumulate(map(len, hint))]
    segment = max(number for number in range(len(hint)) if starts[number] <= at)
    return segment, at - starts[segment]


def _replaced(text: str, taken: Mapping[str, str]) -> str:
    return _NUMBER.sub(lambda found: taken.get(found[0], found[0]), text)


def _wrong_step(right: str, step: str, instead: str, taken: dict[str, str], draw: random.Random) -> str:
    """`step` (the correct step `right` with the numbers of earlier wrong steps), made wrong."""
    role = _ROLE.search(step)
    if role is not None:
        return step[: role.start()] + _OTHER_ROLE[role[0]] + step[role.end() :]
    numbers = list(_NUMBER.finditer(step))
    if not numbers:
        return instead
    last = numbers[-1]
    low, high = (0, 9) if len(last[0]) == 1 else (10 ** (len(last[0]) - 1), 10 ** len(last[0]) - 1)
    # Not back to the number in the correct step either.
    avoided = {int(last[0]), *(int(found[0]) for found in [*_NUMBER.finditer(right)][-1:])}
    other = low + int(draw.random() * (high - low + 1 - len([each for each in avoided if low <= each <= high])))
    for each in sorted(avoided):
        other += low <= each <= other
    taken[last[0]] = str(other)
    return step[: last.start()] + str(other) + step[last.end() :]
