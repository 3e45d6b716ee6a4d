"""General knowledge: from the published columns to rows, what is skipped, and errors that name row and column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from data_prep.benchmarks.general_knowledge import HUB_DATASET, SourceError, prepare, read_questions
from data_prep.prompt_styles import read_completion
from data_prep.schema import content_hash, read_rows
from reward_fns.free_text import score

ITEMS = [
    {"Question": "What is the capital of France?", "Answer": "Paris"},
    {"Question": "Who wrote Hamlet?", "Answer": "William Shakespeare"},
    {"Question": "what is the capital of France", "Answer": "The city of Paris"},
    {"Question": "Who wrote Hamlet?", "Answer": "William Shakespeare"},
    {"Question": "What is nothing?", "Answer": None},
    {"Question": "What is a question mark?", "Answer": "?"},
    {"Question": "  ", "Answer": "Paris"},
    {"Question": "How many legs has a spider?", "Answer": " 8 "},
]


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True, raising=False)


def write(folder: Path, kind: str, items: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(items)
    path = folder / f"questions.{kind}"
    if kind == "parquet":
        frame.to_parquet(path)
    elif kind == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=kind == "jsonl")
    return path


@pytest.mark.parametrize("kind", ["parquet", "csv", "json", "jsonl"])
def test_rows_of_a_local_file(tmp_path: Path, capsys: Any, kind: str) -> None:
    path = prepare(tmp_path / "data", str(write(tmp_path / "source", kind, ITEMS)))
    rows = read_rows(path)
    assert [row["reward_model"]["ground_truth"] for row in rows] == [
        {"answers": ["Paris", "The city of Paris"], "question": "What is the capital of France?"},
        {"answers": ["William Shakespeare"], "question": "Who wrote Hamlet?"},
        {"answers": ["8"], "question": "How many legs has a spider?"},
    ]
    assert {row["data_source"] for row in rows} == {"general_knowledge"}
    printed = capsys.readouterr().out
    assert "3 questions" in printed
    assert "skipped 2: no answer in words" in printed
    assert "skipped 1: no question" in printed
    assert "skipped 1: the same question and answer again" in printed
    assert "skipped 1: the same question with another answer" in printed


def test_a_local_folder_in_the_hubs_layout_gives_the_same_rows(tmp_path: Path) -> None:
    write(tmp_path / "copy/data", "parquet", ITEMS).rename(tmp_path / "copy/data/train-00000-of-00001.parquet")
    from_folder = prepare(tmp_path / "a", str(tmp_path / "copy"))
    from_file = prepare(tmp_path / "b", str(write(tmp_path / "source", "jsonl", ITEMS)))
    assert content_hash(from_folder) == content_hash(from_file)


def test_the_question_is_asked_as_it_is_and_its_own_answer_is_correct() -> None:
    for row in read_questions(ITEMS, "items", 10).rows:
        truth = row["reward_model"]["ground_truth"]
        question = read_completion(row["prompt"][0]["content"])
        assert question is not None
        assert question.text == truth["question"]
        assert score(row["answer"], truth).correct


def test_the_first_questions_are_taken_and_their_later_answers_count() -> None:
    found = read_questions(ITEMS, "items", 1)
    assert [row["reward_model"]["ground_truth"]["answers"] for row in found.rows] == [["Paris", "The city of Paris"]]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([ITEMS[0], {"Question": "How many?", "Answer": 8}], "items, row 1, column Answer: must be text, got 8"),
        ([{"Question": ["a"], "Answer": "b"}], "items, row 0, column Question: must be text"),
        ([], "items: no usable question"),
    ],
)
def test_another_type_is_named_by_row_and_column(items: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read_questions(items, "items", 10)


def test_other_columns_are_named(tmp_path: Path) -> None:
    source = write(tmp_path, "jsonl", [{"question": "q", "answer": "a"}])
    with pytest.raises(ValueError, match="lacks the columns Question, Answer; it has question, answer"):
        prepare(tmp_path, str(source))


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "questions.xlsx").touch()
    with pytest.raises(ValueError, match=r"cannot read \.xlsx files; use \.parquet"):
        prepare(tmp_path, str(tmp_path / "questions.xlsx"))


def test_without_the_hub_it_says_what_to_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr("datasets.load_dataset", unreachable)
    with pytest.raises(ValueError, match=f"cannot load {HUB_DATASET} .*: no route.*download"):
        prepare(tmp_path)


def test_a_copy_of_the_hubs_folder_names_no_split(tmp_path: Path) -> None:
    write(tmp_path, "jsonl", ITEMS)
    assert read_rows(prepare(tmp_path / "out", str(tmp_path)))
