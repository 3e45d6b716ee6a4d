"""VNHSGE: from the published files to rows, what is skipped and why, and accuracy by subject."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data_prep.benchmarks import vnhsge
from data_prep.benchmarks.vnhsge import SourceError, prepare, read_exams, subject_table
from data_prep.prompt_styles import read_completion
from data_prep.schema import read_rows
from eval.metrics import summarise
from reward_fns.choice import score

QUESTION = "Câu 3. \tBiên độ của sóng là \nA. 10 mm. \t\nB. 4 mm. \t\nC. 5 mm. \t\nD. 2 mm."


def item(number: int = 1, **changes: Any) -> dict[str, Any]:
    empty = {"Image_Question": "", "Image_Answer": "", "Explanation": "... => Chọn D"}
    return {"ID": f"MET_Phy_IE_2019_{number}", "Question": QUESTION, "Choice": "D", **empty, **changes}


def write(path: Path, items: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(items, ensure_ascii=False, indent=4), encoding="utf-8")
    return path


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of the repository with two subjects, essays, and training files that must not be read."""
    evaluation = tmp_path / "VNHSGE/Dataset/VNHSGE-V/JSON format/eval"
    write(evaluation / "Physics/MET_Phy_IE_2019.json", [item(1), item(2, Choice=" A ")])
    write(evaluation / "Physics/MET_Phy_IE_2020.json", [item(1, Choice="B")])
    write(evaluation / "CivicEducation/MET_Civ_IE_2021.json", [item(1, ID="MET_Civ_IE_2021_1", Choice="C")])
    write(evaluation / "Literature/MET_Lit_OE_2019.json", [{"Câu hỏi": "Phân tích", "Đáp án": "..."}] * 2)
    write(evaluation.parent / "train/Physics/Phy_1.json", [item(9)])
    return tmp_path / "VNHSGE"


def test_the_rows_of_a_copy_of_the_repository(repository: Path, tmp_path: Path, capsys: Any) -> None:
    rows = read_rows(prepare(tmp_path / "data", str(repository)))
    truths = [row["reward_model"]["ground_truth"] for row in rows]
    assert truths[1] == {
        "choice": "D",
        "subject": "Physics",
        "exam": "MET_Phy_IE_2019",
        "year": "2019",
        "id": "MET_Phy_IE_2019_1",
    }
    assert [(truth["subject"], truth["year"], truth["choice"]) for truth in truths] == [
        ("CivicEducation", "2021", "C"),
        ("Physics", "2019", "D"),
        ("Physics", "2019", "A"),
        ("Physics", "2020", "B"),
    ]
    printed = capsys.readouterr().out
    assert "4 questions: 1 CivicEducation, 3 Physics" in printed
    assert "skipped 2: an essay of Literature" in printed


def test_the_question_is_asked_as_it_is_and_its_own_answer_is_correct(repository: Path) -> None:
    for row in read_exams(repository).rows:
        question = read_completion(row["prompt"][0]["content"])
        assert question is not None
        assert question.text == QUESTION
        assert score(row["answer"], row["reward_model"]["ground_truth"]).correct


def test_the_prompt_itself_holds_no_answer(repository: Path) -> None:
    for row in read_exams(repository).rows:
        verdict = score("I do not know.", row["reward_model"]["ground_truth"])
        assert (verdict.correct, verdict.readable) == (False, False)


@pytest.mark.parametrize("part", ["Dataset/VNHSGE-V/JSON format/eval", "Dataset/VNHSGE-V/JSON format", "."])
def test_any_folder_above_the_evaluation_does(repository: Path, part: str) -> None:
    assert read_exams(repository / part).rows == read_exams(repository).rows


def test_one_subject_or_one_file_does(repository: Path) -> None:
    physics = repository / "Dataset/VNHSGE-V/JSON format/eval/Physics"
    assert len(read_exams(physics).rows) == 3
    assert len(read_exams(physics / "MET_Phy_IE_2020.json").rows) == 1


def test_unusable_items_are_counted_by_reason(tmp_path: Path) -> None:
    items = [
        item(1),
        item(2, Image_Question="MET_Phy_IE_2019/image003.png"),
        item(3, Image_Question="x.png", Choice=""),
        item(4, Choice=""),
        item(5, Choice=None),
        item(6, Choice="r"),
        item(7, Choice="AB"),
        item(8, Question=" \n"),
        item(9, Image_Answer="MET_Phy_IE_2019/image001.png"),
    ]
    exams = read_exams(write(tmp_path / "Physics/MET_Phy_IE_2019.json", items))
    assert [row["reward_model"]["ground_truth"]["id"] for row in exams.rows] == [
        "MET_Phy_IE_2019_1",
        "MET_Phy_IE_2019_9",
    ]
    assert exams.skipped == {
        "a question with an image": 2,
        "no known answer": 2,
        "a known answer other than A, B, C, D: 'r'": 1,
        "a known answer other than A, B, C, D: 'AB'": 1,
        "no question text": 1,
    }


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([item(1), {"question": "?", "answer": "A"}], r"Phy\.json, item 1, key Question: missing; .*question, answer"),
        ([item(1), item(2, Choice=3)], r"item 1, key Choice: must be text, got 3"),
        ([item(1), "text"], r"item 1: must be an object, is str"),
        ({"data": []}, r"must be a list of items, is dict"),
        ([], r"no usable question \(no items\)"),
        ([item(1, Choice="")], r"no usable question \(1 no known answer\)"),
    ],
)
def test_another_format_is_named_by_file_item_and_key(tmp_path: Path, items: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read_exams(write(tmp_path / "Physics/Phy.json", items))


def test_what_is_no_json_or_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("[{]")
    with pytest.raises(SourceError, match=r"bad\.json: not a JSON file"):
        read_exams(tmp_path / "bad.json")
    with pytest.raises(SourceError, match="no such file or folder"):
        read_exams(tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/test.parquet").touch()
    with pytest.raises(SourceError, match=r"no <Subject>/\*\.json in it.*it has test\.parquet"):
        read_exams(tmp_path / "other")


def test_without_a_source_it_says_what_to_download(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"git clone https://github\.com/Xdao85/VNHSGE"):
        prepare(tmp_path)


def test_accuracy_by_subject_and_mean(repository: Path) -> None:
    answers = {
        "CivicEducation": ["<answer>C</answer>"],
        "Physics": ["<answer>D</answer>", "<answer>no idea</answer>", ""],
    }
    items = []
    for number, row in enumerate(read_exams(repository).rows):
        truth = row["reward_model"]["ground_truth"]
        verdict = score(answers[truth["subject"]].pop(0), truth)
        counted = {"acc": float(verdict.correct), "format": float(verdict.readable)}
        counted |= {"parse_fail": float(not verdict.readable), "partial": 0.0, "reward_error": 0.0, "timeout": 0.0}
        place = {"problem": number, "sample": 0, "data_source": "vnhsge", "group": truth["subject"]}
        items.append({**place, **counted, "tokens": 1, "truncated": False, "pred": verdict.pred})
    table = subject_table(summarise(items))
    assert "| CivicEducation | 1 | 100.0% | 0.0% |" in table
    assert "| Physics | 3 | 33.3% | 66.7% |" in table
    assert "| mean over subjects | 4 | 66.7% | 33.3% |" in table
    assert "| all questions | 4 | 50.0% | 50.0% |" in table
    with pytest.raises(SourceError, match="no answers to vnhsge"):
        subject_table({"groups": {}})


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"groups": {"vnhsge": {"Physics": {}}}}'])
def test_what_is_no_result_is_named_in_one_line(text: str | None, tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "results.json"
    if text is not None:
        file.write_text(text)
    assert vnhsge.main([str(file)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {file}: ")
    assert said.count("\n") == 1
