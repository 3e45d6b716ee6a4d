"""Knights-and-knaves data: who tells the truth and who lies, deduced from what people say, with worked hints.
Generates any number of puzzles, deterministically from the arguments; published.py imports existing ones.

Example: "... You meet 2 inhabitants: Zoey and Owen. Zoey commented, "Owen is a knave". Owen said that Zoey is a
knight and Owen is a knight. ..." -> "(1) Zoey is a knight\\n(2) Owen is a knave", by the steps "Assume Zoey is ...
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data_prep.kk_logic.hints import listing, reasoning, solution_lines
from data_prep.kk_logic.puzzle import (
    AFFIRM,
    DENY,
    FORMS,
    MOST_PEOPLE,
    Claim,
    Claims,
    Key,
    Leaf,
    canonical_key,
    read_statements,
    sentence,
    statements_text,
    unique_solution,
)
from data_prep.prompt_styles import Question, completion_prompt
from data_prep.schema import Row, build_row
from data_prep.split import Prepared, write_generated

DATA_SOURCE = "kk_logic"
EXAMPLE = "(1) Zoey is a knight\n(2) Oliver is a knight\n(3)..."
OPENING = (
    "A very special island is inhabited only by knights and knaves. Knights always tell the truth, and knaves always "
    "lie. You meet {count} inhabitants: {people}. "
)
CLOSING = " So who is a knight and who is a knave?"

# The names and the ways of speaking of the published puzzles.
_NAMES = (
    "Abigail Aiden Alexander Amelia Aria Aurora Ava Avery Benjamin Charlotte Chloe Daniel David Elizabeth Ella Emily "
    "Emma Ethan Evelyn Grace Harper Henry Isabella Jack Jackson Jacob James Joseph Liam Lily Logan Lucas Luke Mason "
    "Matthew Mia Michael Noah Oliver Olivia Owen Penelope Riley Samuel Scarlett Sebastian Sofia Sophia Victoria "
    "William Zoey"
)
NAMES = tuple(_NAMES.split())
SPEECH = (
    '{name} said, "{claim}."',
    '{name} stated, "{claim}".',
    '{name} commented, "{claim}".',
    '{name} remarked, "{claim}".',
    '{name} noted, "{claim}".',
    '{name} asserted: "{claim}".',
    '{name} was heard saying, "{claim}".',
    'According to {name}, "{claim}".',
    'As {name} put it, "{claim}".',
    'In {name}\'s words: "{claim}".',
    'In a statement by {name}: "{claim}".',
    '"{claim}," {name} claimed.',
    '"{claim}," {name} declared.',
    '"{claim}," {name} mentioned.',
    '"{claim}" - {name}.',
    "{name} said that {claim}.",
    "{name} told you that {claim}.",
    "{name} expressed that {claim}.",
)

# Consecutive failed draws after which a number of people counts as exhausted; normally about three are needed.
_MOST_DRAWS = 20_000
# The number of different puzzles by people, rounded up; for more than 3 people it is practically unlimited.
_MOST_PUZZLES = {2: 100, 3: 15_000}


@dataclass(frozen=True)
class Space:
    """Which puzzles may be drawn. people: how many people a puzzle has, each equally likely until it is exhausted
    (there are only a few dozen different puzzles with 2 people and about ten thousand with 3)."""

    people: tuple[int, ...] = (3, 4, 5, 6, 7)

    def __post_init__(self) -> None:
        different = len(self.people) == len(set(self.people)) > 0
        if not different or not set(self.people) <= set(range(2, MOST_PEOPLE + 1)):
            raise ValueError(f"people must be different numbers from 2 to {MOST_PEOPLE}, got {self.people}")

    def check_size(self, n: int) -> None:
        """Raises ValueError for more puzzles than there are."""
        most = sum(_MOST_PUZZLES.get(each, math.inf) for each in self.people)
        if n > most:
            people = ", ".join(map(str, self.people))
            raise ValueError(
                f"asked for {n} knights-and-knaves puzzles, but with {people} people there are fewer than {most:.0f}; "
                "allow more people or ask for fewer puzzles"
            )


@dataclass(frozen=True)
class Problem:
    """A puzzle with its unique solution (True: knight). speech: for each person an index into SPEECH."""

    names: tuple[str, ...]
    claims: Claims
    speech: tuple[int, ...]
    solution: tuple[bool, ...]

    @property
    def key(self) -> Key:
        return canonical_key(self.claims)


def row_key(row: Row) -> Key:
    """The identity of the puzzle in a kk_logic row."""
    truth = row["reward_model"]["ground_truth"]
    return canonical_key(read_statements(truth["statements"], len(truth["names"])))


def generate(n: int, seed: int, split: str, space: Space | None = None, exclude: Collection[Key] = ()) -> list[Problem]:
    """`n` different puzzles with one solution each, none with a key in `exclude`: a pure function of the arguments.

    A smaller n gives the beginning of the same list. If the puzzles with one number of people are exhausted, the other
    numbers replace them. Raises ValueError if all are exhausted.
    """
    space = space or Space()
    # Seeding with text uses SHA-512, and random() is the one method that Python guarantees not to change: the rows are
    # the same in every process and version.
    draw = random.Random(f"{DATA_SOURCE} {split} {seed}")
    seen = set(exclude)
    left = list(space.people)
    problems: list[Problem] = []
    while len(problems) < n:
        people = left[int(draw.random() * len(left))]
        found = _draw_puzzle(draw, people, seen)
        if found is not None:
            claims, solution, key = found
            seen.add(key)
            problems.append(_told(draw, claims, solution))
            continue
        left.remove(people)
        if not left:
            raise ValueError(
                f"{split}: random draws found only {len(problems)} of {n} knights-and-knaves puzzles with "
                f"{', '.join(map(str, space.people))} people ({len(set(exclude))} puzzles were excluded); "
                "allow more people or ask for fewer puzzles"
            )
    return problems


def _draw_puzzle(draw: random.Random, people: int, seen: set[Key]) -> tuple[Claims, tuple[bool, ...], Key] | None:
    for _ in range(_MOST_DRAWS):
        claims = tuple([_draw_claim(draw, speaker, people) for speaker in range(people)])
        solution = unique_solution(claims)
        if solution is not None and (key := canonical_key(claims)) not in seen:
            return claims, solution, key
    return None


def _draw_claim(draw: random.Random, speaker: int, people: int) -> Claim:
    form = FORMS[int(draw.random() * len(FORMS))]
    first = _draw_leaf(draw, speaker, people)
    if form in (AFFIRM, DENY):
        return Claim(form, (first,))
    second = first
    while second == first:
        second = _draw_leaf(draw, speaker, people)
    return Claim(form, (first, second))


def _draw_leaf(draw: random.Random, speaker: int, people: int) -> Leaf:
    # Nobody calls themselves a knave, the last of the 2 * people choices if the speaker is last.
    choice = int(draw.random() * (2 * people - 1))
    person = (speaker + 1 + choice // 2) % people
    return Leaf(person, choice % 2 == 0)


def _told(draw: random.Random, claims: Claims, solution: tuple[bool, ...]) -> Problem:
    names = list(NAMES)
    for place in range(len(claims)):
        other = place + int(draw.random() * (len(names) - place))
        names[place], names[other] = names[other], names[place]
    speech = tuple([int(draw.random() * len(SPEECH)) for _ in claims])
    return Problem(tuple(names[: len(claims)]), claims, speech, solution)


def quiz(problem: Problem) -> str:
    """The puzzle in English, from "A very special island ..." to "So who is a knight and who is a knave?"."""
    said = [
        SPEECH[way].format(name=name, claim=sentence(claim, problem.names))
        for name, claim, way in zip(problem.names, problem.claims, problem.speech, strict=True)
    ]
    opening = OPENING.format(count=len(problem.names), people=listing(problem.names))
    return opening + " ".join(said) + CLOSING


def to_row(problem: Problem, index: int, split: str) -> Row:
    """The puzzle as a training row, with hint and prompt in the format of the published data."""
    return puzzle_row(quiz(problem), problem.names, problem.claims, problem.solution, index, split)


def puzzle_row(
    text: str, names: Sequence[str], claims: Claims, solution: Sequence[bool], index: int, split: str
) -> Row:
    """A training row from the puzzle's text, its people, their claims and its solution."""
    final = "".join(solution_lines(names, solution))
    return build_row(
        prompt=completion_prompt(Question(text, EXAMPLE)),
        hint=reasoning(names, claims),
        final_answer=final,
        data_source=DATA_SOURCE,
        ability="math",
        ground_truth={
            "names": list(names),
            "solution": list(solution),
            "solution_text_format": final,
            "statements": statements_text(claims),
        },
        index=index,
        split=split,
    )


def prepare(
    out_dir: Path,
    n_train: int = 4_500,
    n_test: int = 500,
    seed: int = 0,
    people: Sequence[int] = (3, 4, 5, 6, 7),
    exclude: Collection[Key] = (),
) -> Prepared:
    """Writes out_dir/train.parquet and out_dir/test.parquet with disjoint, duplicate-free puzzles.

    The test file does not depend on n_train. exclude: puzzles that may be in neither file.
    """
    space = Space(tuple(people))
    space.check_size(n_train + n_test)
    drawn = partial(generate, seed=seed, space=space)
    return write_generated(out_dir, (n_train, n_test), drawn, to_row, row_key, "puzzle", exclude)
