"""Each fault of a user's file of answers is named by row, column and fix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.preference.local import examine
from tests.helpers.preference_checks import CHAT, LABEL, PAIR, SCORE, SCORED_PAIR, file_of, turns


@pytest.mark.parametrize(
    ("good", "row", "expected"),
    [
        (PAIR, {**PAIR, "chosen": " "}, "row 2, column chosen: empty; put the chosen there or delete the row"),
        (PAIR, {**PAIR, "prompt": None}, "row 2, column prompt: empty"),
        (
            PAIR,
            {"text": "t"},
            "1 problem in 1 row (row = line of the file, the first is 1)\n"
            "  row 2: a row of another kind (the row has text); give it what the file's other rows have (prompt, "
            "chosen, rejected), or delete it",
        ),
        (
            {"chosen": turns("p", "good"), "rejected": turns("p", "bad")},
            {"chosen": "good", "rejected": "bad"},
            "row 2: an answer without its prompt (the row has chosen, rejected); add a column prompt",
        ),
        (
            {"instruction": "i", "output": "o"},
            {"instruction": "i", "output": "o", "history": "before"},
            "row 2, column history: no list of pairs ('before'); write [[",
        ),
        (PAIR, {"prompt": "p", "chosen": "x"}, "row 2, column rejected: empty"),
        (PAIR, {**PAIR, "rejected": " good\n"}, "row 2, column rejected: chosen and rejected are the same ('good')"),
        (PAIR, {**PAIR, "chosen": {"text": "x"}}, "row 2, column chosen: a dict, not one text"),
        (PAIR, {**PAIR, "prompt": []}, "row 2, column prompt: empty; put messages there"),
        (PAIR, {**PAIR, "prompt": turns("a", "b")}, "row 2, column prompt: the last turn is not the user's"),
        (
            PAIR,
            {**PAIR, "prompt": [{"role": "human", "content": "a"}]},
            "unknown role (message 1: 'human'); use system",
        ),
        (PAIR, {**PAIR, "prompt": [{"who": "user", "value": "a"}]}, "not a message with the texts role and content"),
        (PAIR, {**PAIR, "prompt": turns("a", " ", "b")}, "column prompt: a blank turn (message 2, of the assistant)"),
        (PAIR, {**PAIR, "chosen": turns("p")}, "row 2, column chosen: the last turn is not the assistant's"),
        (PAIR, {**PAIR, "chosen": turns("z", "x")}, "a whole conversation that is not about the row's prompt"),
        (PAIR, {**PAIR, "chosen": "x\0"}, "row 2, column chosen: holds a NUL character"),
        (PAIR, '{"prompt": "p", "chosen": "\\ud800", "rejected": "b"}', "column chosen: holds half a character"),
        (PAIR, {**PAIR, "chosen": "x" * 200_001}, "row 2, column chosen: longer than 200,000 characters"),
        (PAIR, '{"prompt": ', "row 2: not valid JSON"),
        (PAIR, "[1]", "row 2: not an object"),
        (
            {"chosen": turns("a", "x"), "rejected": turns("a", "y")},
            {"chosen": turns("a", "b", "c", "x"), "rejected": turns("a", "z", "c", "y")},
            "row 2, column rejected: chosen and rejected are not answers to the same conversation (turn 2 differs)",
        ),
        (
            {"chosen": turns("a", "x"), "rejected": turns("a", "y")},
            {"chosen": turns("a", "b", "c", "x"), "rejected": turns("a", "y")},
            "not answers to the same conversation (one has more turns)",
        ),
        (
            {"chosen": turns("a", "x"), "rejected": turns("a", "y")},
            {"chosen": "x", "rejected": turns("a", "y")},
            "row 2: an answer without its prompt (the row has chosen, rejected); add a column prompt",
        ),
        (SCORED_PAIR, {**SCORED_PAIR, "chosen_score": None}, "row 2, column chosen_score: empty"),
        (SCORED_PAIR, {**SCORED_PAIR, "chosen_score": 0.05}, "the chosen answer has the lower score (0.05 and 0.1)"),
        (LABEL, {**LABEL, "label": None}, "row 2, column label: empty; put the label there or delete the row"),
        (LABEL, {**LABEL, "label": "maybe"}, "row 2, column label: not a label ('maybe'); write true or false"),
        (LABEL, {**LABEL, "label": 2}, "row 2, column label: not a label ('2')"),
        (LABEL, {**LABEL, "label": False}, "the same prompt and completion have the opposite label further up (row 1)"),
        (LABEL, {"prompt": "p", "completion": "c"}, "row 2, column label: empty"),
        (SCORE, {**SCORE, "score": "high"}, "row 2, column score: not a number ('high')"),
        (SCORE, {**SCORE, "score": True}, "row 2, column score: a truth value"),
        (SCORE, '{"prompt": "p", "completion": "c", "score": NaN}', "row 2: not valid JSON (NaN is not a JSON value)"),
        (CHAT, {"messages": "a"}, "row 2, column messages: a text, not messages"),
        (CHAT, {"messages": turns("a")}, "row 2, column messages: no turn of the assistant"),
        (
            CHAT,
            {"messages": turns("a", "b")[::-1]},
            "a turn of the assistant does not follow one of the user (message 1)",
        ),
        (
            {"instruction": "i", "output": "o"},
            {"instruction": "i", "input": "x", "output": None},
            "row 2, column output: empty",
        ),
    ],
)
def test_each_fault_of_a_row_names_row_column_and_fix(tmp_path: Path, good: Any, row: Any, expected: str) -> None:
    complaint = examine(file_of(tmp_path, [good, row])).complaint()
    assert expected in complaint
    assert "1 problem in 1 row (row = line of the file, the first is 1)" in complaint


def test_a_row_with_several_faults_shows_them_all(tmp_path: Path) -> None:
    row = {"prompt": " ", "chosen": 1.5, "rejected": [], "chosen_score": "x"}
    complaint = examine(file_of(tmp_path, [SCORED_PAIR, row])).complaint()
    for fault in ("prompt: empty", "rejected: empty", "chosen_score: not a number", "rejected_score: empty"):
        assert f"row 2, column {fault}" in complaint
    assert "4 problems in 1 row" in complaint


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "p", "chosen": "c"}, "column rejected: there is a column chosen, but none named rejected; add it"),
        ({**PAIR, "score_chosen": 1}, "there is a column chosen_score, but none named rejected_score; add it"),
        ({**LABEL, "score": 1}, "both a label and a score are given; delete the column that should not count"),
        ({"completion": "c", "label": 1}, "no column for the prompt; name it prompt (the file has completion, label)"),
        ({**CHAT, "score": 1}, "column score: a score without a column of completions; name the answers' column"),
        ({**PAIR, "output": "o"}, "no column for the instruction; name it instruction"),
    ],
)
def test_columns_that_leave_the_meaning_open_are_named(tmp_path: Path, row: Any, expected: str) -> None:
    assert expected in examine(file_of(tmp_path, [row])).complaint()


def test_wrong_encodings_and_numbers_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    path = file_of(tmp_path, [SCORE])
    path.write_bytes(b'{"prompt": "caf\xe9", "completion": "c", "score": 1}\n')
    assert "row 1: not UTF-8 (byte 0xe9" in examine(path).complaint()
    path.write_bytes(json.dumps(SCORE).encode("utf-16"))
    assert "is UTF-16 text; save the file as UTF-8" in examine(path).complaint()
    pq.write_table(pa.table({"prompt": ["p"], "completion": ["c"], "score": [float("nan")]}), tmp_path / "n.parquet")
    assert "row 0, column score: empty" in examine(tmp_path / "n.parquet").complaint()
