"""`python -m data_prep validate` on files of answers: what it sums up, writes, and refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_prep.__main__ import main
from data_prep.preference.local import looks_like_answers
from data_prep.preference.schema import read_rows
from tests import ROOT
from tests.helpers.preference_checks import CHAT, EXAMPLE, LABEL, PAIR, SCORE, file_of


def test_files_of_problems_are_not_taken_for_answers(tmp_path: Path) -> None:
    for row in (PAIR, LABEL, CHAT, {"instruction": "i", "output": "o"}):
        for name in ("x.jsonl", "x.json", "x.parquet"):
            assert looks_like_answers(file_of(tmp_path, [row], name))
    assert looks_like_answers(file_of(tmp_path, [PAIR], "x.csv"))
    for row in (
        {"question": "q", "answer": "a"},
        {"prompt": "q", "completion": "thoughts", "answer": "a"},
        {"instruction": "i", "input": "x", "answer": "a"},
        {"numbers": [1, 2], "target": 3, "answer": "1 + 2"},
    ):
        assert not looks_like_answers(file_of(tmp_path, [row]))
    assert not looks_like_answers(ROOT / "examples" / "custom" / "questions.jsonl")
    assert not looks_like_answers(tmp_path / "none.parquet")
    # Most rows say what a file is, and the others are its faults.
    question = {"question": "q", "answer": "a"}
    assert not looks_like_answers(file_of(tmp_path, [PAIR, question, question]))
    assert looks_like_answers(file_of(tmp_path, [question, PAIR, PAIR]))


def test_the_command_sums_up_the_example_and_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(EXAMPLE), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    for part in (
        "preferences.jsonl: 15 rows (row = line of the file, the first is 1)",
        "answers   29: 24 score, 5 instruction",
        "gives     12 pairs (dpo), 24 labelled answers (kto), 24 scored answers (una), 5 instructions (sft)",
        "scores    as they are; 0 to 1",
        "its answer (score 0.1): 'Sydney.'",
        f"train on them with --algo una --data {tmp_path / 'out'}",
    ):
        assert part in out
    assert "note" not in out
    assert sum(len(read_rows(tmp_path / "out" / f"{split}.parquet")) for split in ("train", "test")) == 29
    assert main(["validate", str(tmp_path / "out" / "train.parquet")]) == 0
    assert "rows in the alignment format" in capsys.readouterr().out


def test_the_command_lists_faults_in_the_style_of_all_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = file_of(tmp_path, [{**PAIR, "prompt": ""}] * 7)
    assert main(["validate", str(path)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"{path}: 7 problems in 7 rows (row = line of the file, the first is 1)" in shown.err
    assert "... and 2 more rows of this kind" in shown.err
    stars = file_of(tmp_path, [{**SCORE, "score": n, "prompt": str(n)} for n in range(1, 6)])
    assert main(["validate", str(stars), "--score-min", "1", "--score-max", "5"]) == 0
    assert "scores    1 to 5, put on 0 to 1; 0 to 1, 5 different ones" in capsys.readouterr().out
    questions = file_of(tmp_path, [{"question": "q", "answer": "a"}])
    assert main(["validate", str(questions), "--score-min", "1"]) == 1
    assert "has no scored answers; remove these flags" in capsys.readouterr().err


def test_the_list_of_commands_names_all_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for name in ("vnhsge SOURCE", "general_knowledge", "preference NAME"):
        assert f"python3 -m data_prep {name}" in out
    item = {"ID": "MET_Phy_IE_2019_3", "Question": "Câu 3. Đo?\nA. 1\nB. 2\nC. 3\nD. 4", "Choice": "D"}
    source = file_of(tmp_path, [{**item, "Image_Question": ""}], "exam.json")
    assert main(["vnhsge", str(source), "--out", str(tmp_path / "vn")]) == 0
    assert "test.parquet: 1 questions" in capsys.readouterr().out
    assert main(["vnhsge", "--out", str(tmp_path / "vn")]) == 2
    assert "get it with `git clone" in capsys.readouterr().err
