"""MATH data: rows like the published ones, disjoint files drawn by the seed, and no row lost without a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.imported import Imported, LeftOut
from data_prep.math.convert import convert, load_problems, prepare, problem_key, to_row
from data_prep.prompt_styles import read_completion
from data_prep.schema import read_rows
from data_prep.task_commands import math as main
from reward_fns.math.reward import score
from tests import ROOT

REFERENCE = ROOT.parent / "shared" / "reference_data" / "math" / "test.parquet"


def item(number: int, level: str = "Level 4", **changes: Any) -> dict[str, Any]:
    solution = f"We add. This gives ${number}+1=\\boxed{{{number + 1}}}$."
    return {"problem": f"What is ${number} + 1$?", "solution": solution, "level": level, "type": "Algebra", **changes}


def local_copy(folder: Path, train: list[dict[str, Any]], test: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(train), folder / "train-00000-of-00001.parquet")
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in test), encoding="utf-8")
    return folder


def test_a_problem_becomes_a_row() -> None:
    row = to_row(item(6), 3, "train")
    assert row["prompt"][0]["content"].endswith(
        "<answer> 12 </answer>.\nAssistant: Let me solve this step by step.\n<think> "
    )
    assert "User: What is $6 + 1$? Show your work" in row["prompt"][0]["content"]
    assert row["hint"] == ["We add. ", "This gives $6+1=\\boxed{7}$."]
    assert row["answer"] == "We add. This gives $6+1=\\boxed{7}$. </think>\n<answer> 7 </answer>"
    assert row["reward_model"]["ground_truth"] == {"target": "7"}
    assert (row["data_source"], row["ability"], row["extra_info"]) == ("math", "math", {"index": 3, "split": "train"})
    assert score(row["answer"], row["reward_model"]["ground_truth"]).score == 1.0


def test_the_gold_is_the_last_box_of_the_solution() -> None:
    row = to_row(item(0, solution=r"First $\boxed{3}$, then $\boxed{\frac{1}{\sqrt{2}}}$."), 0, "test")
    assert row["reward_model"]["ground_truth"] == {"target": r"\frac{1}{\sqrt{2}}"}


def numbers(converted: Imported) -> list[int]:
    return [row["extra_info"]["index"] for row in converted.rows]


def test_every_row_left_out_is_named() -> None:
    items = [
        item(0),
        item(1, "Level 2"),
        item(2, "Level ?"),
        item(3, solution="No box."),
        item(4, solution=r"Empty $\boxed{}$."),
        item(5, problem=None),
        item(0, problem="What  is\n$0 + 1$?"),
        item(7, solution=r"Ends </think> early. $\boxed{8}$"),
        item(8),
        item(9, "Level 5"),
    ]
    converted = convert(items, "train", exclude={problem_key("What is $8+1$?")})
    assert numbers(converted) == [0, 9]
    reasons = {out.row: out.reason for out in converted.left_out}
    assert set(reasons) == {2, 3, 4, 5, 6, 7, 8}
    assert reasons[2] == "column level: must be 'Level 1' to 'Level 5', got 'Level ?'"
    assert reasons[3] == "column solution: no \\boxed{} answer"
    assert reasons[4].startswith("column solution: the gold answer is empty")
    assert reasons[5] == "column problem: must be text, got None"
    assert converted.left_out[4] == LeftOut(6, "duplicate of row 0")
    assert "</think>" in reasons[7]
    assert reasons[8] == "is a test problem"
    assert numbers(convert(items, "train", levels={2})) == [1]


def test_files_are_disjoint_and_drawn_by_the_seed(tmp_path: Path) -> None:
    test_items = [item(number) for number in range(40)]
    train_items = [item(number, f"Level {1 + number % 5}") for number in range(30, 100)]
    source = str(local_copy(tmp_path / "copy", train_items, test_items))
    prepared, from_train, from_test = prepare(tmp_path / "a", source, n_test=15, seed=1)
    assert from_test == ()
    assert {out.reason for out in from_train} == {"is a test problem"}
    train, test = read_rows(prepared.train), read_rows(prepared.test)
    assert (len(train), len(test)) == (prepared.n_train, prepared.n_test) == (36, 15)

    def questions(rows: list[Any]) -> list[str]:
        found = [read_completion(row["prompt"][0]["content"]) for row in rows]
        return [question.text for question in found if question is not None]

    assert len(set(questions(train)) | set(questions(test))) == 51
    # even the test problems that this seed did not draw stay out of training
    assert not {problem_key(row["problem"]) for row in test_items} & {problem_key(text) for text in questions(train)}
    again, _, _ = prepare(tmp_path / "b", source, n_test=15, seed=1, n_train=10)
    assert again.test.read_bytes() == prepared.test.read_bytes()
    assert read_rows(again.train) == train[:10]
    other, _, _ = prepare(tmp_path / "c", source, n_test=15, seed=2)
    assert set(questions(read_rows(other.test))) != set(questions(test))
    with pytest.raises(ValueError, match="asked for 41 test problems; there are 40 usable ones"):
        prepare(tmp_path / "d", source, n_test=41)
    assert not (tmp_path / "d").exists()


def test_one_file_is_divided(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    path.write_text("".join(json.dumps(item(number % 25)) + "\n" for number in range(50)), encoding="utf-8")
    prepared, from_train, from_test = prepare(tmp_path / "out", str(path), n_test=5, seed=0)
    assert (prepared.n_train, prepared.n_test) == (20, 5)
    assert sum(out.reason == "is a test problem" for out in from_train) == 10
    assert len(from_test) == 25


def test_the_command_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = local_copy(tmp_path / "copy", [item(n) for n in range(5, 12)], [item(n) for n in range(5)])
    arguments = ["--source", str(source), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--n-test", "3"]) == 0
    assert "train.parquet: 7 rows, content sha256 " in capsys.readouterr().out
    assert main(arguments) == 2
    assert "asked for 1024 test problems; there are 5" in capsys.readouterr().err
    (source / "test.jsonl").write_text('{"problem": "x"}\n', encoding="utf-8")
    assert main(arguments) == 2
    assert "lacks the columns solution, level; it has problem" in capsys.readouterr().err
    (source / "test.jsonl").write_text("{}\n{,}\n", encoding="utf-8")
    assert main(arguments) == 2
    assert "test.jsonl, line 2: not JSON" in capsys.readouterr().err
    (source / "test.jsonl").unlink()
    assert main(arguments) == 2
    assert "no test.parquet, .jsonl, .json or .csv in this folder" in capsys.readouterr().err


def test_the_hub_is_asked_for_the_split(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked = []

    def load_dataset(name: str, config: str | None, split: str) -> list[dict[str, Any]]:
        asked.append((name, config, split))
        if split == "train":
            raise ConnectionError("offline")
        return [item(1)]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert load_problems("DigitalLearningGmbH/MATH-lighteval", "test") == [item(1)]
    with pytest.raises(ValueError, match=r"cannot load some/name \(default, train\) from the hub: offline"):
        load_problems("some/name", "train")
    assert asked == [("DigitalLearningGmbH/MATH-lighteval", None, "test"), ("some/name", None, "train")]


def test_published_rows_are_reproduced_but_for_the_cutting_of_hints() -> None:
    if not REFERENCE.exists():
        pytest.skip(f"the published MATH data is not at {REFERENCE}")
    rows = pq.read_table(REFERENCE).to_pylist()
    for row in rows:
        question = row["reward_model"]["ground_truth"]["question"]
        published = {"problem": question, "solution": "".join(row["hint"]), "level": row["level"]}
        ours = to_row(published, row["extra_info"]["index"], "test")
        theirs_prompt = row["prompt"][0]
        assert ours["prompt"] == [{"role": theirs_prompt["role"], "content": theirs_prompt["content"]}]
        assert ours["answer"].split() == row["answer"].split()
        assert ours["extra_info"] == row["extra_info"]
        assert ours["reward_model"]["ground_truth"]["target"] == row["reward_model"]["ground_truth"]["target"].strip()
