"""`python -m data_prep validate`: what is wrong with a file, in which row and column, and what to do."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.__main__ import main
from data_prep.schema import read_rows
from tests.helpers.validate_checks import BAD_ANSWER, EXAMPLE, GOOD, complaint, file_of, praise


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"question": "q"}', "row 2, column answer: empty; put the final answer there or delete the row"),
        (BAD_ANSWER % '""', "row 2, column answer: empty; put the final answer there or delete the row"),
        (BAD_ANSWER % "null", "row 2, column answer: empty; put the final answer there or delete the row"),
        ('{"question": "  ", "answer": "4"}', "row 2, column question: empty; put the question there"),
        (BAD_ANSWER % "NaN", "row 2: not valid JSON (NaN is not a JSON value); fix or delete the line"),
        (BAD_ANSWER % "-Infinity", "row 2: not valid JSON (-Infinity is not a JSON value)"),
        (BAD_ANSWER % '"nan"', "row 2, column answer: not a value ('nan')"),
        (BAD_ANSWER % "true", "row 2, column answer: a truth value, not a text (True)"),
        (BAD_ANSWER % "[4]", "row 2, column answer: a list, not one text ([4]); write one text or number"),
        (BAD_ANSWER % '{"a": 4}', "row 2, column answer: a dict, not one text"),
        (BAD_ANSWER % '"\\ud800"', "row 2, column answer: holds half a character (a lone surrogate)"),
        (BAD_ANSWER % '"4\\u0000"', "row 2, column answer: holds a NUL character (at character 2); delete it"),
        (BAD_ANSWER % '"<answer>4</answer>"', "row 2, column answer: holds <answer> ('<answer>4</answer>')"),
        (BAD_ANSWER % '"\\\\frac{1"', "row 2, column answer: the math reward cannot use this"),
        (BAD_ANSWER % ("9" * 5000), "row 2: not valid JSON (a number of 5,000 digits)"),
        (BAD_ANSWER % ("[" * 100_000), "row 2: not valid JSON (nested too deeply)"),
        (BAD_ANSWER % ("[" * 600 + "]" * 600), "row 2, column answer: a list, not one text"),
        (
            '{"question": "%s", "answer": 4}' % ("x" * 200_001),
            "column question: longer than 200,000 characters (200,001",
        ),
        ('{"question": "q", "question": "p", "answer": 4}', "row 2: not valid JSON (the name 'question' occurs twice"),
        ('{"question": "q", "answer": 4', "row 2: not valid JSON (Expecting ',' delimiter at character 30)"),
        ("question,answer", "row 2: not valid JSON"),
        ("[1, 2]", "row 2: not an object with columns such as"),
        ("4", "row 2: not an object with columns such as"),
        (
            '{"question": "q", "solution": "a </think> b", "answer": 4}',
            "row 2, column solution: holds </think> before its end (at character 3); end the solution there",
        ),
        (
            '{"question": "q", "solution": "a <answer>4</answer> b", "answer": 4}',
            "row 2, column solution: holds <answer> before its end",
        ),
    ],
)
def test_each_fault_of_a_row_names_row_column_and_fix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, expected: str
) -> None:
    err = complaint(capsys, file_of(tmp_path, f"{GOOD}\n{line}\n"))
    assert expected in err
    assert "mine.jsonl: 1 problem in 1 row (row = line of the file, the first is 1)" in err


def test_all_problems_are_gathered_and_grouped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [BAD_ANSWER % "null" if number % 2 else GOOD for number in range(1, 41)] + ["{", '{"answer": "4"}']
    err = complaint(capsys, file_of(tmp_path, "\n".join(lines)))
    assert "22 problems in 22 rows" in err
    assert [row for row in range(1, 41) if f"row {row}, column answer: empty" in err] == [1, 3, 5, 7, 9]
    assert "... and 15 more rows of this kind" in err
    assert "row 41: not valid JSON" in err
    assert "row 42, column question: empty" in err


def test_a_row_with_two_faults_shows_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    err = complaint(capsys, file_of(tmp_path, f'{GOOD}\n{{"question": null, "solution": [1], "answer": true}}'))
    for column in ("question: empty", "solution: a list", "answer: a truth value"):
        assert f"row 2, column {column}" in err


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("question,answer\nq,4\np\n", "row 3: not as many cells as the header has columns (2) (1 cells)"),
        ("question,answer\nq,4\np,1,000\n", "row 3: not as many cells as the header has columns (2) (3 cells)"),
        ('question,answer\n"q\nq",4\np,\n', "row 4, column answer: empty"),
        ('question,answer\nq,4\n"p,5\nr,6\n', "row 3: quotation marks are not closed as CSV wants it"),
        ("question,answer,answer\nq,4,5\n", "row 1, column answer: two columns have this name; rename or delete one"),
        ("question,,answer\nq,4,5\n", "row 1: a column has no name (column 2)"),
        ("question,answer\n", "has no rows"),
        ("", "has no rows"),
        (
            "a,b\n1,2\n",
            "1 problem\n  no column of questions or answers (the file has a, b); name them question",
        ),
        ("question,b\n1,2\n", "no column for the answer; name it answer or target or final_answer or ground_truth"),
        ("question,numbers,target\nq,1 2,3\n", "look like countdown problems"),
        (b"question,answer\nq,4\ncaf\xe9,5\n", "row 3: not UTF-8 (byte 0xe9 at position 4 of the line); save the file"),
        ("question,answer\nq,4\n".encode("utf-16"), "is UTF-16 text; save the file as UTF-8"),
        ("question,answer\nq," + "9" * 3_000_000 + "\n", "row 2, column answer: longer than 200,000 characters"),
    ],
)
def test_faults_of_csv_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | bytes, expected: str
) -> None:
    assert expected in complaint(capsys, file_of(tmp_path, content, "mine.csv"))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("mine.jsonl", GOOD.encode() + b'\n{"question": "caf\xe9", "answer": 4}', "row 2: not UTF-8 (byte 0xe9"),
        ("mine.json", b"[" + GOOD.encode() + b',\n{"question": "caf\xe9"}]', "not UTF-8 (line 2)"),
        ("mine.json", "[" + GOOD + ", 7]", "row 2: not an object"),
        ("mine.json", "[" + GOOD, "not valid JSON"),
        ("mine.json", "7", "not an object"),
        ("mine.json", "{}", "no column of questions or answers"),
        ("mine.json", "[]", "has no rows"),
        ("mine.jsonl", '{"text": "t"}', "1 problem\n  no column of questions or answers (the file has text); name"),
        (
            "mine.jsonl",
            GOOD + '\n{"text": "t"}',
            "1 problem in 1 row (row = line of the file, the first is 1)\n  row 2: a",
        ),
        ("mine.jsonl", "[1,2]\n" + GOOD, "row 1: not an object"),
        ("mine.jsonl", '[{"question": "q",\n"answer": }]', "not valid JSON (Expecting value at line 2"),
        ("mine.jsonl", '{"question": "q', "not valid JSON (Unterminated string starting at character 14)"),
        (
            "mine.jsonl",
            '{"prompt": "p", "completion": "c", "score": true}',
            "score: a truth value, not a number",
        ),
        ("mine.parquet", "PAR1 and nothing", "not a readable parquet file"),
        ("mine.txt", GOOD, "unknown kind of file '.txt'; use one of .jsonl"),
    ],
)
def test_faults_of_other_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str | bytes, expected: str
) -> None:
    assert expected in complaint(capsys, file_of(tmp_path, content, name))


def test_faults_of_parquet_files_count_rows_from_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.parquet"
    pq.write_table(pa.table({"question": ["q", "r", "s"], "answer": [1.0, float("nan"), None]}), path)
    err = complaint(capsys, str(path))
    assert "(row = row of the table, the first is 0)" in err
    assert "row 1, column answer: empty" in err
    assert "row 2, column answer: empty" in err
    bad = pa.array([b"q", b"caf\xe9"]).view(pa.string())
    pq.write_table(pa.table([bad, pa.array([1, 2])], ["question", "answer"]), path)
    assert "row 1, column question: not UTF-8" in complaint(capsys, str(path))
    pq.write_table(pa.table([pa.array(["q"]), pa.array([1]), pa.array([2])], ["question", "answer", "answer"]), path)
    assert "column answer: two columns have this name" in complaint(capsys, str(path))
    path.write_bytes(path.read_bytes()[:-40] + b"0" * 40)
    assert "not a readable parquet file" in complaint(capsys, str(path))


def test_faults_of_rows_in_the_training_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    praise(capsys, str(EXAMPLE), "--out", str(tmp_path / "data"))
    good = read_rows(tmp_path / "data" / "train.parquet")[0]
    bad = [
        {**good, "hint": ["first </think> second"]},
        {**good, "prompt": "What?"},
        {**good, "data_source": "my_source"},
        {**good, "reward_model": {"style": "rule", "ground_truth": {"answer": "4"}}},
        {**good, "answer": None},
        {**good, "data_source": "vnhsge"},
    ]
    err = complaint(capsys, file_of(tmp_path, "\n".join(map(json.dumps, [good, *bad]))))
    for part in (
        "row 2, column hint: must not contain </think>",
        "row 3, column prompt: must be a list of messages ('What?')",
        "row 4, column data_source: no reward judges rows of this source ('my_source')",
        "row 5, column reward_model: the math reward cannot use this",
        "row 6, column answer: missing or null",
        "row 7, column reward_model: the choice reward cannot use this",
    ):
        assert part in err
    del good["reward_model"]  # type: ignore[misc]
    assert "column reward_model: this column is missing" in complaint(capsys, file_of(tmp_path, json.dumps(good)))


def test_damaged_files_of_any_kind_end_in_a_summary_or_in_problems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = random.Random(0)
    rows = [json.loads(line) for line in EXAMPLE.read_text().splitlines()][:4]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    contents = {
        "m.jsonl": "\n".join(map(json.dumps, rows)).encode(),
        "m.json": json.dumps(rows, indent=1).encode(),
        "m.csv": b"question,answer\n" + b"\n".join(b'"%s",4' % str(k).encode() for k in range(9)),
        "m.parquet": (tmp_path / "a.parquet").read_bytes(),
    }
    statuses = set()
    for name, content in contents.items():
        for _ in range(60):
            damaged = bytearray(content)
            for _ in range(draw.randint(1, 6)):
                at = draw.randrange(len(damaged))
                damaged[at : at + draw.choice((0, 1, 9))] = draw.choice((b'"', b"\0", b"\xff", b",", b"{", b"NaN", b""))
            statuses.add(main(["validate", file_of(tmp_path, bytes(damaged), name)]))
    shown = capsys.readouterr()
    assert statuses == {0, 1}
    assert "Traceback" not in shown.err
