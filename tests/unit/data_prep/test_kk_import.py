"""Imported knights-and-knaves data: nothing is lost without being named, and every row gets a worked solution."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.imported import LeftOut
from data_prep.kk_logic.generate import Space, generate, quiz, row_key, to_row
from data_prep.kk_logic.published import (
    checked_claims,
    convert_puzzles,
    load_puzzles,
    load_uft,
    prepare_from_hub,
    prepare_from_uft,
)
from data_prep.kk_logic.puzzle import PuzzleError, statements_text
from data_prep.schema import SchemaError, read_rows
from tests.helpers.kk_logic_checks import REFERENCE, check_row, reference


def test_the_uft_files_load_whole_or_without_their_repetitions(tmp_path: Path) -> None:
    whole = load_uft(reference("test"))
    assert (len(whole.rows), whole.left_out) == (500, ())
    prepared, from_train, from_test = prepare_from_uft(REFERENCE, tmp_path)
    assert (prepared.n_train, prepared.n_test) == (4_374, 498)
    assert len(from_test) == 2
    assert sum(out.reason == "is in the excluded set" for out in from_train) == 29
    assert LeftOut(104, "duplicate of row 82") in from_train
    assert len(from_train) == 126


def test_uft_rows_with_another_than_the_only_solution_are_left_out_and_named(tmp_path: Path) -> None:
    rows = [to_row(problem, index, "train") for index, problem in enumerate(generate(6, 0, "train"))]
    bad = [copy.deepcopy(row) for row in rows[:4]]
    truths: list[dict[str, Any]] = [row["reward_model"]["ground_truth"] for row in bad]
    truths[0]["solution"][0] = not truths[0]["solution"][0]
    truths[1]["statements"] = "(" + ", ".join(f"('telling-truth', {i})" for i in range(len(truths[1]["names"]))) + ")"
    truths[2]["statements"] = "print('hello')"
    truths[3]["names"][1] = truths[3]["names"][0]
    path = tmp_path / "train.parquet"
    pq.write_table(pa.Table.from_pylist([*rows, *bad, rows[1]]), path)
    loaded = load_uft(path)
    assert loaded.rows == (*rows, rows[1])
    assert [out.row for out in loaded.left_out] == [6, 7, 8, 9]
    reasons = [out.reason for out in loaded.left_out]
    assert reasons[0].startswith("not a puzzle: the solution is [")
    assert reasons[1] == f"not a puzzle: the statements have {2 ** len(truths[1]['names'])} solutions"
    assert reasons[2] == "not a puzzle: statements must be in brackets: \"print('hello')\""
    assert reasons[3].startswith("not a puzzle: names holds a name twice")
    loaded = load_uft(path, drop_duplicates=True, exclude={row_key(rows[2])})
    assert LeftOut(2, "is in the excluded set") in loaded.left_out
    assert LeftOut(10, "duplicate of row 1") in loaded.left_out
    assert len(loaded.rows) == 5
    pq.write_table(pa.Table.from_pylist([rows[0], {**rows[1], "hint": ["other"]}]), path)
    with pytest.raises(SchemaError, match=r"train\.parquet, row 1, column answer"):
        load_uft(path)


@pytest.mark.parametrize(
    ("names", "solution", "statements", "message"),
    [
        (None, [True], "", "names must be a list of texts"),
        (["A", ""], [True, True], "", "names must be a list of texts"),
        (["A", "B"], [True, True], None, "statements must be text, got None"),
        (["A"], [True], "(('lying', 0))", "2 to 8 people, not 1"),
        (["A", "B"], None, "(('lying', 1), ('lying', 0))", "the statements have 2 solutions"),
        (["A", "B"], None, "(('lying', 0), ('lying', 0))", "the statements have 0 solutions"),
        (["A", "B"], [True], "(('lying', 1), ('and', ('lying', 0), ('lying', 1)))", "not \\[True\\]"),
    ],
)
def test_what_is_no_puzzle_is_named(names: Any, solution: Any, statements: Any, message: str) -> None:
    with pytest.raises(PuzzleError, match=message):
        checked_claims(names, solution, statements)


def hub_items(n: int, people: int, split: str) -> list[dict[str, Any]]:
    return [
        {
            "quiz": quiz(problem),
            "names": list(problem.names),
            "knight_knave": {"knight": "knight", "knave": "knave"},
            "solution": list(problem.solution),
            "solution_text": "...",
            "statements": statements_text(problem.claims),
            "cot_repeat_steps": ["..."],
            "index": index,
        }
        for index, problem in enumerate(generate(n, 0, split, Space((people,))))
    ]


def test_hub_items_get_hints_and_every_loss_is_named() -> None:
    items = hub_items(5, 4, "train")
    items[1] = {**items[1], "solution": [not role for role in items[1]["solution"]]}
    items[3] = {**items[0], "names": ["Ada", "Bea", "Cora", "Dana"]}
    items[4] = {**items[4], "quiz": " "}
    imported = convert_puzzles(enumerate(items), "train")
    assert len(imported.rows) == 2
    for row in imported.rows:
        check_row(row)
    assert [(out.row, out.reason.split(" the solution is")[0]) for out in imported.left_out] == [
        (1, "not a puzzle:"),
        (3, "duplicate of row 0"),
        (4, "not a puzzle: quiz must be text, got ' '"),
    ]
    excluded = convert_puzzles(enumerate(items), "train", exclude={row_key(imported.rows[0])})
    assert LeftOut(0, "is in the excluded set") in excluded.left_out
    assert len(convert_puzzles(enumerate(items), "train", limit=1).rows) == 1


@pytest.fixture
def hub_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "hub"
    for split, count in (("train", 12), ("test", 6)):
        (folder / split).mkdir(parents=True)
        for people in (3, 5):
            lines = [json.dumps(item) for item in hub_items(count, people, split)]
            (folder / split / f"people{people}_num{count}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_a_local_copy_of_the_hub_dataset_becomes_two_disjoint_files(hub_copy: Path, tmp_path: Path) -> None:
    prepared, from_train, from_test = prepare_from_hub(tmp_path / "out", 15, 10, 3, str(hub_copy), people=(5, 3))
    assert (prepared.n_train, prepared.n_test) == (15, 10)
    assert from_train == from_test == ()
    rows = read_rows(prepared.train) + read_rows(prepared.test)
    for row in rows:
        check_row(row)
    assert len({row_key(row) for row in rows}) == 25
    again, _, _ = prepare_from_hub(tmp_path / "again", 20, 10, 3, str(hub_copy), people=(3, 5))
    assert again.test.read_bytes() == prepared.test.read_bytes()
    assert read_rows(again.train)[:15] == read_rows(prepared.train)


def test_a_local_copy_without_the_files_or_columns_is_refused(hub_copy: Path) -> None:
    with pytest.raises(ValueError, match=r"hub/train: holds no people4_num\*\.jsonl"):
        load_puzzles(str(hub_copy), people=(4,))
    (hub_copy / "train" / "people4_num1.jsonl").write_text('{"quiz": "q", "names": ["A"]}\n')
    with pytest.raises(ValueError, match="lacks the columns solution, statements; it has quiz, names"):
        load_puzzles(str(hub_copy), people=(4,))


def test_the_hub_itself_is_asked_by_split_and_number_of_people(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked = []

    def load(*arguments: Any, **options: Any) -> Any:
        asked.append((arguments, options))
        return datasets.Dataset.from_list(hub_items(2, 3, "test"))

    monkeypatch.setattr("datasets.load_dataset", load)
    assert len(load_puzzles(split="test", people=(4, 3))) == 4
    assert asked == [(("K-and-K/knights-and-knaves", "test"), {"split": f"{n}ppl"}) for n in (3, 4)]
