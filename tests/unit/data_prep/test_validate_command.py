"""`python -m data_prep validate`: its summary, its notes, and mistakes of its command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.__main__ import main
from data_prep.schema import read_rows
from tests import ROOT
from tests.helpers.refusals import refusal
from tests.helpers.validate_checks import EXAMPLE, GOOD, complaint, file_of, praise


def test_a_good_file_is_summed_up_with_an_example_row(capsys: pytest.CaptureFixture[str]) -> None:
    out = praise(capsys, str(EXAMPLE))
    for part in (
        "questions.jsonl: 12 rows",
        "question from column question, solution from column solution, answer from column answer",
        "reward    math",
        "solutions in 12 rows; 2 to 3, half up to 2",
        "  | <think> ",
        "'The baker makes 7 * 12 = 84 rolls.\\n'",
        "its answer: 25",
    ):
        assert part in out
    assert "note" not in out


def test_answers_that_are_sentences_are_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        '{"question": "Who?", "answer": "Goethe wrote it in two parts"}',
        r'{"question": "How fast?", "answer": "12 \\text{ square feet per hour}"}',
        '{"question": "Where?", "answer": "Paris"}',
    ]
    out = praise(capsys, file_of(tmp_path, "\n".join(rows).encode()))
    assert "answers that are sentences (1): row 1. The math reward compares values" in out


def test_two_answers_in_a_cell_are_told_how_to_be_a_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = b'{"instruction": "Name a colour", "input": "", "output": ["Blue.", "A table."]}'
    assert "two answers are columns chosen and rejected" in complaint(capsys, file_of(tmp_path, rows))


def test_with_a_folder_it_writes_both_files_and_says_how_to_use_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = praise(capsys, str(EXAMPLE), "--out", str(tmp_path / "data"), "--test-share", "0.3")
    assert f"train on them with --data {tmp_path / 'data'}" in out
    sizes = [len(read_rows(tmp_path / "data" / f"{split}.parquet")) for split in ("train", "test")]
    assert sum(sizes) == 12
    assert f"train.parquet: {sizes[0]} rows" in out


def test_oddities_that_do_no_harm_are_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [GOOD, "", '{"question": "what is 2+2", "answer": "5"}', '{"question": "q", "solution": "s", "answer": "1"}']
    out = praise(capsys, file_of(tmp_path, b"\xef\xbb\xbf" + "\r\n".join(rows).encode()))
    for note in (
        "the byte-order mark at the beginning is ignored",
        "lines end in CRLF",
        "blank lines skipped: 1",
        "rows with an earlier question, put on its side of the split (1): row 3",
        "those of them with another answer than the earlier row (1): row 3",
        "rows without a solution (2)",
    ):
        assert f"  note: {note}" in out


def test_rows_whose_own_answer_gets_no_full_reward_are_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"numbers": [1, 2, k], "target": 3 + k, "answer": f"1 + 2 + {k}"} for k in range(3, 15)]
    rows[3]["answer"] = "1 + 2"
    out = praise(capsys, file_of(tmp_path, "\n".join(map(json.dumps, rows))), "--reward", "countdown")
    assert "the reward is below 1 for the file's own answer in 1 row tried: row 4" in out


def test_a_missing_file_and_a_folder_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no such file; check the path" in complaint(capsys, str(tmp_path / "none.jsonl"))
    (tmp_path / "folder.csv").mkdir()
    assert "is a folder; name a file in it" in complaint(capsys, str(tmp_path / "folder.csv"))
    assert "there is no such file" in complaint(capsys, str(EXAMPLE), "--test", str(tmp_path / "none.jsonl"))


def test_the_module_runs_as_a_command() -> None:
    command = [sys.executable, "-m", "data_prep"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    for name in ("validate FILE", "overlap TRAIN EVAL", "countdown", "kk_logic"):
        assert name in listed.stdout
    wrong = subprocess.run([*command, "valdiate"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert wrong.returncode == 2
    assert "there is no command 'valdiate'" in wrong.stderr


def test_what_out_would_refuse_is_refused_without_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of one question cannot be split, and a test file may share no question."""
    one = file_of(tmp_path, GOOD)
    assert "has 1 different question, and a training and a test part need at least 2" in complaint(capsys, one)
    two = file_of(tmp_path, f'{GOOD}\n{{"question": "What is 2 + 3?", "answer": "5"}}')
    assert "note: training on it requires a split: " in praise(capsys, two)
    assert "questions.jsonl" in complaint(capsys, str(EXAMPLE), "--test", str(EXAMPLE))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["validate", "x", "--test_shar", "1"], "--test_shar: no such flag; did you mean --test-share?"),
        (["validate"], "the following arguments are required: FILE"),
        (["validate", "x", "--seed", "one"], "argument --seed: invalid int value: 'one'"),
        (["validate", "x", "--seed", "-1"], "argument --seed: -1: must be at least 0"),
        (["validate", "x", "--test_share", "2"], "argument --test-share: 2: must be between 0 and 1, such as 0.1"),
        (["validate", "x", "--test-share", "0"], "argument --test-share: 0: must be between 0 and 1"),
        (["validate", "x", "--test-share", "nan"], "argument --test-share: nan: must be between 0 and 1"),
        (["kk_logic", "--seed", "-1"], "argument --seed: -1: must be at least 0"),
        (["math", "--n-test", "0"], "argument --n-test: 0: must be at least 1"),
        *(
            ([*command.split(), "--out", "README.md/x"], "argument --out: README.md is a file; choose another folder")
            for command in (
                *("countdown", "kk_logic", "chain", "math", "vnhsge x", "general_knowledge x", "validate x"),
                *("others --from-hub", "preference helpsteer2"),
            )
        ),
        (["countdown", "--from-hub", "missing.parquet"], "missing.parquet: no such file"),
        (["countdown", "--from_hub", "docs"], "docs: no train.parquet, .jsonl, .json or .csv in this folder"),
        (["countdown", "--from-uft", "README.md"], "README.md/test.parquet: no such file"),
        (["countdown", "--exclude", "docs"], "docs: a folder; name a file in it"),
        (["kk_logic", "--from-hub", "docs"], "docs/test: holds no people3_num*.jsonl"),
        (
            ["kk_logic", "--from-hub", "README.md"],
            "README.md: a file; name the folder that holds train/people3_num1000",
        ),
        (["overlap", "docs", "docs"], "docs: a folder; name a file in it"),
        (["others", "--source", "missing"], "missing: no such folder; it must contain a file per benchmark"),
        (["vnhsge", "--source", "missing"], "missing: no such file or folder"),
    ],
)
def test_a_mistake_of_the_command_line_is_one_line(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    begins = (f"python -m data_prep {words[0]}: {says}", f"error: {says}")
    refusal(capsys, *words, command=main, begins=begins)


def test_flags_may_be_spelled_like_those_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spelled = [
        praise(capsys, str(EXAMPLE), *also)
        for also in (("--test_share", "0.3"), ("--test-share", "0.3"), ("--test_share=0.3",))
    ]
    assert len({*spelled}) == 1
