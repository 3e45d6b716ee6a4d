"""Cutting a solution: how many texts, which tokens, and that tokens are those the whole solution has."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.algorithms import get_algorithm
from recipes.algorithms.base import Bare, Demonstration, Hint, Plan
from recipes.algorithms.hints.cut import (
    as_record,
    common_prefix,
    draw_plans,
    hint_given,
    pieces_at,
    segments_of,
)

COUNTDOWN = ["19 + 35 = 54\n", "44 + 54 = 98\n", "Therefore, the final equation is 44 + (19 + 35)"]
ANSWER = "".join(COUNTDOWN) + " </think>\n<answer> 44 + (19 + 35) </answer>"


def plan_of(hint: list[str], *, step: int, seed: int, key: str) -> Plan:
    """r3's plan."""
    return draw_plans(get_algorithm("r3"), hint, None, step=step, seed=seed, key=key, past=None, common=None)[0]


def hint_tokens(*given: Any) -> list[int]:
    """The tokens alone."""
    return hint_given(*given)[0]


def words(text: str) -> list[int]:
    """A tokenizer that, like byte-level BPE, joins a blank to the next word and consecutive newlines to one token."""
    tokens, i = [], 0
    while i < len(text):
        j = i + 1
        if text[i] == "\n":
            while j < len(text) and text[j] == "\n":
                j += 1
        else:
            while j < len(text) and text[j] not in " \n":
                j += 1
        tokens.append(text[i:j])
        i = j
    return [hash_of(token) for token in tokens]


def hash_of(token: str) -> int:
    return sum(ord(character) * 257**place for place, character in enumerate(token)) % (2**61 - 1)


@pytest.mark.parametrize(
    ("length", "n", "texts", "expected"),
    [
        (0, 5, 9, 0),
        (1, 5, 9, 2),
        (2, 5, 9, 4),
        (3, 5, 9, 5),
        (4, 5, 9, 7),
        (5, 5, 9, 9),
        (1, 4, 10, 2),
        (3, 4, 10, 8),
        (2, 3, 3, 2),
    ],
)
def test_cut_points_round_half_to_even_as_the_published_code_does(
    length: int, n: int, texts: int, expected: int
) -> None:
    assert pieces_at(length, n, texts) == expected


@given(st.integers(1, 60))
def test_cut_points_grow_from_nothing_to_everything(texts: int) -> None:
    n = min(5, texts)
    cuts = [pieces_at(length, n, texts) for length in range(n + 1)]
    assert cuts == sorted(cuts)
    assert cuts[0] == 0
    assert cuts[-1] == texts


def test_a_solution_without_texts_has_no_hint() -> None:
    assert as_record(plan_of([], step=1, seed=0, key="q"), 0) == {"length": 0, "pieces": 0}


@given(st.integers(0, 99), st.integers(1, 50), st.text(max_size=10))
def test_a_plan_is_a_function_of_its_arguments(seed: int, step: int, key: str) -> None:
    first, second = (plan_of(COUNTDOWN, step=step, seed=seed, key=key) for _ in range(2))
    assert first == second
    assert segments_of(COUNTDOWN) == 3
    record = as_record(first, 3)
    assert record["pieces"] == pieces_at(record["length"], 3, 3)


def test_plans_of_different_prompts_differ() -> None:
    plans = {plan_of(COUNTDOWN, step=1, seed=0, key=str(i)) for i in range(40)}
    assert plans == {Hint(0), Hint(1), Hint(2), Hint(3)}


def test_plans_travel_as_segments_texts_shares_and_demonstrations() -> None:
    assert as_record(Bare(), 9) == {"length": 0, "pieces": 0}
    assert as_record(Hint(3), 9) == {"length": 3, "pieces": 5}
    assert as_record(Hint(7), 9) == {"length": 5, "pieces": 9}
    assert as_record(Hint(share=0.5), 8) == {"length": 2, "pieces": 4, "share": 0.5}
    assert as_record(Hint(2, where="prompt", wrap="{hint}"), 4) == {"length": 2, "pieces": 2, "wrap": "{hint}"}
    assert as_record(Demonstration(), 9) == {"length": 0, "pieces": 0, "demonstration": 1}


@pytest.mark.parametrize("pieces", [0, 1, 2, 3])
def test_hint_tokens_are_the_first_tokens_of_the_solution(pieces: int) -> None:
    ids, full = hint_tokens(words, COUNTDOWN, pieces, ANSWER, 100), words(ANSWER)
    assert ids == full[: len(ids)]
    assert (ids == []) == (pieces == 0)


def test_a_blank_that_belongs_to_the_next_word_is_left_to_the_model() -> None:
    hint = ["Assume Amelia is a knight. ", "No contradiction is found.\n"]
    ids = hint_tokens(words, hint, 1, "".join(hint) + " </think>", 100)
    assert ids == words("Assume Amelia is a knight.")


def test_a_newline_that_joins_the_next_one_is_left_to_the_model() -> None:
    hint = ["First.\n", "\n", "Second."]
    assert hint_tokens(words, hint, 1, "".join(hint), 100) == words("First.")
    assert hint_tokens(words, hint, 2, "".join(hint), 100) == words("First.\n\n")


def test_whole_texts_are_dropped_until_the_hint_fits() -> None:
    one, two = (len(hint_tokens(words, COUNTDOWN, pieces, ANSWER, 100)) for pieces in (1, 2))
    assert len(hint_tokens(words, COUNTDOWN, 3, ANSWER, two)) == two
    assert len(hint_tokens(words, COUNTDOWN, 3, ANSWER, two - 1)) == one
    assert hint_tokens(words, COUNTDOWN, 3, ANSWER, one - 1) == []


def test_the_part_that_was_given_is_less_than_planned_where_it_did_not_fit() -> None:
    one, two = (len(hint_tokens(words, COUNTDOWN, pieces, ANSWER, 100)) for pieces in (1, 2))
    shares = [hint_given(words, COUNTDOWN, 3, ANSWER, limit)[1] for limit in (100, two, one, one - 1)]
    assert shares == [1.0, pytest.approx(2 / 3), pytest.approx(1 / 3), 0.0]
    # A text of which no token stands: its only one goes on into the next text.
    assert hint_given(words, ["\n", "\nSecond."], 1, "\n\nSecond.", 100) == ([], 0.0)


@given(st.lists(st.text(alphabet="ab \n", min_size=1, max_size=8), min_size=1, max_size=8), st.data())
def test_hint_tokens_never_pass_the_limit_and_always_start_the_solution(texts: list[str], data: st.DataObject) -> None:
    solution = "".join(texts) + " </think>"
    pieces = data.draw(st.integers(0, len(texts)))
    limit = data.draw(st.integers(0, 30))
    ids = hint_tokens(words, texts, pieces, solution, limit)
    assert len(ids) <= limit
    assert ids == words(solution)[: len(ids)]


def test_a_hint_that_does_not_start_the_answer_is_an_error_that_names_the_columns() -> None:
    with pytest.raises(ValueError, match="'hint' are not the start of column 'answer'"):
        hint_tokens(words, ["something else"], 1, ANSWER, 100)


def test_common_prefix_counts_shared_leading_items() -> None:
    assert [common_prefix(a, b) for a, b in [([1, 2], [1, 2, 3]), ([1, 2], [1, 3]), ([], [1]), ([2], [1])]] == [
        2,
        1,
        0,
        0,
    ]
