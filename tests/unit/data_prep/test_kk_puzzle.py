"""Knights and knaves as logic: the grammar, the solver, the identity of a puzzle, and the reasoning of the hints."""

from __future__ import annotations

import ast
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.kk_logic.generate import EXAMPLE, OPENING, SPEECH, Problem, to_row
from data_prep.kk_logic.hints import listing, reasoning
from data_prep.kk_logic.puzzle import (
    AFFIRM,
    AND,
    DENY,
    FORMS,
    IF,
    IFF,
    MOST_STATEMENT_CHARS,
    Claim,
    Claims,
    Leaf,
    PuzzleError,
    canonical_key,
    read_statements,
    sentence,
    solutions,
    statements_text,
    unique_solution,
)
from data_prep.prompt_styles import read_completion
from tests.helpers.kk_logic_checks import published, worlds


@st.composite
def puzzles(draw: st.DrawFn, most: int = 6) -> Claims:
    people = draw(st.integers(2, most))
    leaves = st.builds(Leaf, st.integers(0, people - 1), st.booleans())
    claims = []
    for _ in range(people):
        form = draw(st.sampled_from(FORMS))
        claims.append(Claim(form, tuple(draw(leaves) for _ in range(1 if form in (AFFIRM, DENY) else 2))))
    return tuple(claims)


@given(puzzles())
def test_the_solver_finds_what_trying_all_worlds_finds(claims: Claims) -> None:
    expected = worlds(ast.literal_eval(statements_text(claims)))
    assert sorted(solutions(claims)) == sorted(expected)
    assert unique_solution(claims) == (expected[0] if len(expected) == 1 else None)


@given(puzzles(most=8))
def test_statements_are_read_as_they_are_written(claims: Claims) -> None:
    text = statements_text(claims)
    assert read_statements(text, len(claims)) == claims
    assert read_statements(text.replace("'", '"').replace(" ", ""), len(claims)) == claims


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be in brackets"),
        ("(('lying', 1))", "1 statements for 2 people"),
        ("(('lying', 1), ('lying', 0), ('lying', 0))", "3 statements for 2 people"),
        ("(('lying', 1), ('lying', 2))", "about person 2, but the 2 people are 0 to 1"),
        ("(('lying', 1), ('xor', ('lying', 0), ('lying', 1)))", "statement 1 is not in the grammar"),
        ("(('lying', 1), ('not', ('not', ('lying', 0))))", "statement 1 is not in the grammar"),
        ("(('lying', 1) ('lying', 0))", "a comma is missing after statement 0"),
        ("(('lying', 1), __import__('os'))", "statement 1 is not in the grammar"),
        ("(" * 500 + ")" * 500, "statement 0 is not in the grammar"),
        ("(" + "('lying', 1), " * 1_000 + ")", f"at most {MOST_STATEMENT_CHARS} are read"),
    ],
)
def test_other_statements_are_refused(text: str, message: str) -> None:
    with pytest.raises(PuzzleError, match=message):
        read_statements(text, 2)


@settings(max_examples=200)
@given(puzzles(), st.randoms(use_true_random=False))
def test_renaming_and_reordering_leave_the_key_and_only_the_same_question_has_it(claims: Claims, draw) -> None:  # type: ignore[no-untyped-def]
    places = list(range(len(claims)))
    draw.shuffle(places)
    moved: list[Claim] = [claims[0]] * len(claims)
    for speaker, claim in enumerate(claims):
        leaves = tuple(Leaf(places[leaf.person], leaf.knight) for leaf in claim.leaves)
        form = claim.form
        if form in (AND, IFF) and draw.random() < 0.5:
            leaves = leaves[::-1]
        if form in (AFFIRM, DENY) and draw.random() < 0.5:
            form, leaves = (DENY if form == AFFIRM else AFFIRM), (Leaf(leaves[0].person, not leaves[0].knight),)
        moved[places[speaker]] = Claim(form, leaves)
    assert canonical_key(tuple(moved)) == canonical_key(claims)
    at = draw.randrange(len(claims))
    first, *others = claims[at].leaves
    changed = list(claims)
    changed[at] = Claim(claims[at].form, (Leaf(first.person, not first.knight), *others))
    # One role turned round changes how often knights are spoken of, unless both halves of a claim are alike.
    if Counter(_signs(tuple(changed))) != Counter(_signs(claims)):
        assert canonical_key(tuple(changed)) != canonical_key(claims)


def _signs(claims: Claims) -> list[tuple[str, tuple[bool, ...]]]:
    return [
        (AFFIRM, (claim.leaves[0].knight != (claim.form == DENY),))
        if len(claim.leaves) == 1
        else (claim.form, tuple(sorted(leaf.knight for leaf in claim.leaves)))
        for claim in claims
    ]


def test_the_halves_of_an_implication_are_not_exchanged_in_the_key() -> None:
    other = Claim(AFFIRM, (Leaf(0, True),))
    a, b = Leaf(0, True), Leaf(1, False)
    assert canonical_key((Claim(IF, (a, b)), other)) != canonical_key((Claim(IF, (b, a)), other))


def test_the_key_of_eight_people_who_say_the_same_takes_under_seconds() -> None:
    claims = (Claim(AFFIRM, (Leaf(0, True),)),) * 8
    started = time.process_time()
    key = canonical_key(claims)
    assert time.process_time() - started < 3
    assert key == canonical_key((Claim(AFFIRM, (Leaf(7, True),)),) * 8)


def test_reasoning_about_claims_without_a_solution_is_an_error() -> None:
    liar = Claim(AFFIRM, (Leaf(0, False),))
    with pytest.raises(ValueError, match="claims of Zoey, Owen contradict each other"):
        reasoning(["Zoey", "Owen"], (liar, liar))


def test_lists_of_people() -> None:
    assert [listing("A"), listing("AB"), listing("ABC")] == ["A", "A and B", "A, B, and C"]


@pytest.mark.parametrize("split", ["train", "test"])
def test_published_rows_are_reproduced_letter_for_letter_from_names_statements_and_ways_of_speaking(split: str) -> None:
    for row in published(split):
        truth = row["reward_model"]["ground_truth"]
        names = truth["names"]
        claims = read_statements(truth["statements"], len(names))
        question = read_completion(row["prompt"][0]["content"])
        assert question is not None
        assert question.example == EXAMPLE
        speech = _speech(question.text, names, claims)
        solution = unique_solution(claims)
        assert solution is not None
        problem = Problem(tuple(names), claims, speech, solution)
        assert to_row(problem, row["extra_info"]["index"], row["extra_info"]["split"]) == row


def _speech(text: str, names: list[str], claims: Claims) -> tuple[int, ...]:
    """Which way of speaking each person has in a puzzle's text."""
    at = len(OPENING.format(count=len(names), people=listing(names)))
    ways = []
    for name, claim in zip(names, claims, strict=True):
        said = [frame.format(name=name, claim=sentence(claim, names)) for frame in SPEECH]
        way = next(way for way, spoken in enumerate(said) if text.startswith(spoken + " ", at))
        ways.append(way)
        at += len(said[way]) + 1
    return tuple(ways)
