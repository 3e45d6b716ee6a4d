"""The knights-and-knaves base: its tokenizer knows every word of the task, and no text is about a held-out puzzle."""

import json
import random
from itertools import islice
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bench.study import kk_base, tasks
from bench.study.cells import STEPS, SUPERVISED
from bench.study.kk_base import SPACE, Settings, build_tokenizer, drawn, held_out, pieces, text, unread
from bench.study.scan import plans
from data_prep.kk_logic.generate import generate, row_key, to_row
from data_prep.kk_logic.puzzle import unique_solution
from recipes.data.datafiles import prepared
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


@pytest.mark.parametrize("people", [2, 3])
def test_no_text_is_about_an_unread_puzzle(people: int) -> None:
    assert {problem.key for problem in held_out()} <= unread()
    for problem in islice(drawn(random.Random(0), people), 300):
        assert problem.key not in unread()
        assert unique_solution(problem.claims) == problem.solution


def test_every_task_is_planned_for_every_method_and_the_knights_base_is_built_without_their_puzzles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bases/tiny-kk"
    monkeypatch.setattr(kk_base, "FOLDER", folder)
    monkeypatch.setattr(kk_base, "MEASURED", 2)
    monkeypatch.setattr(kk_base, "Settings", lambda: Settings(steps=2, batch_size=2))
    kk_base.build_where_missing()
    monkeypatch.setattr(kk_base, "build", None)
    kk_base.build_where_missing()  # There is one now.
    card = json.loads((folder / "card.json").read_text())
    assert card["measured"] == {"greedy": 0.0, "sampled": 0.0}
    for task in tasks.TASKS:
        flags = [f"{folder}" if each.endswith("tiny-kk") else each for each in tasks.flags_of(task, 0)]
        planned = plans(tuple(flags))
        assert planned.keys() == {*tasks.METHODS}
        assert {each.T for name, each in planned.items() if name not in SUPERVISED} == {STEPS}
        if "kk_logic" in flags:
            data = prepared(planned["rft"], tmp_path)
            asked = {row_key(row) for file in (data.train, data.test) for row in pq.read_table(file).to_pylist()}
            assert len(asked) == kk_base.TRAIN_ROWS + kk_base.TEST_ROWS
            assert asked <= unread()
