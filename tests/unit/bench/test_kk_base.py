"""The knights-and-knaves base: its tokenizer knows every word of the task, and its texts err as often as meant."""

import random
from itertools import islice

from bench.study.kk_base import SPACE, build_tokenizer, drawn, held_out, pieces, text
from data_prep.kk_logic.generate import generate, to_row
from data_prep.kk_logic.puzzle import unique_solution
from reward_fns import compute_score

TOKENIZER = build_tokenizer(1024)
ASKED = generate(200, 0, "train", SPACE)
ROWS = [to_row(problem, 0, "train") for problem in ASKED]


def test_prompts_and_solutions_round_trip_in_whole_pieces() -> None:
    known = {*pieces()}
    for row in ROWS:
        prompt, answer = row["prompt"][0]["content"], row["answer"]
        tokens = TOKENIZER.encode(prompt + answer)
        assert TOKENIZER.decode(tokens) == prompt + answer
        assert {TOKENIZER.decode([token]) for token in tokens} <= known
        assert tokens == TOKENIZER.encode(prompt) + TOKENIZER.encode(answer)


def test_other_texts_round_trip() -> None:
    other = 'Zoë said: "1 + 1 = 2".\n'
    assert TOKENIZER.decode(TOKENIZER.encode(other)) == other


def test_every_hint_is_a_token_prefix_of_its_solution() -> None:
    for row in ROWS:
        solution = TOKENIZER.encode(row["answer"])
        for count in range(len(row["hint"]) + 1):
            given = TOKENIZER.encode("".join(row["hint"][:count]))
            assert given == solution[: len(given)]


def test_solutions_are_those_of_the_task() -> None:
    assert [text(problem) for problem in ASKED] == [(row["prompt"][0]["content"], row["answer"]) for row in ROWS]
    for row in ROWS[:20]:
        assert compute_score("kk_logic", row["answer"], row["reward_model"]["ground_truth"])["acc"] == 1.0


def test_no_text_is_about_a_held_out_puzzle() -> None:
    kept = {problem.key for problem in held_out()}
    assert {problem.key for problem in generate(512, 0, "test", SPACE)} <= kept
    for problem in islice(drawn(random.Random(0), 3), 300):
        assert problem.key not in kept
        assert unique_solution(problem.claims) == problem.solution
