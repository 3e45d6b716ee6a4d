"""Columns that are called otherwise, ShareGPT's conversations, system prompts: read, or named with row and column."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep import validate as validate_cli
from data_prep.faults import CustomDataError
from data_prep.files.columns import ROLES, by_role, read_columns
from data_prep.preference import local
from data_prep.preference.local import looks_like_answers
from data_prep.problems import prepare as custom
from data_prep.prompt_styles import read_completion

ASKED = {"role": "user", "content": "hi"}
BRIEF = {"role": "system", "content": "be brief"}
SHARED = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]


def file_of(folder: Path, *rows: dict[str, Any]) -> Path:
    file = folder / "mine.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["question"], "write ROLE=COLUMN"),
        (["question="], "write ROLE=COLUMN"),
        (["qestion=q"], "qestion is no role; did you mean question?"),
        (["question=q", "question=p"], "question is given twice"),
    ],
)
def test_what_is_no_pair_is_refused(words: list[str], why: str) -> None:
    with pytest.raises(CustomDataError) as refused:
        read_columns(words)
    assert why in str(refused.value)


@given(
    st.lists(st.text("abc", min_size=1, max_size=2), unique=True),
    st.dictionaries(st.sampled_from(ROLES), st.text("abc", min_size=1, max_size=2)),
)
def test_a_column_that_is_placed_is_known_by_its_role_alone(columns: list[str], given_: dict[str, str]) -> None:
    found = by_role(columns, given_)
    for role, column in given_.items():
        assert (found.get(role) == column) == (column in columns)
        assert column not in found or column not in columns
    assert set(columns) == set(found.values()) or any(
        a != b for a in columns for b in columns if a.lower() == b.lower()
    )


def test_problems_under_other_names_and_a_complaint_that_names_the_files_own(tmp_path: Path) -> None:
    """Column solution, which is not meant, is not taken for one."""
    columns = {"question": "q", "answer": "res", "solution": "steps"}
    good = {"q": "1 + 1?", "steps": "1 + 1 = 2.", "res": 2, "solution": "nonsense", "answer": "3"}
    found = custom.examine(file_of(tmp_path, good, {**good, "q": "1 + 2?", "res": ""}), None, columns)
    assert [row["answer"] for row in found.rows] == ["1 + 1 = 2. </think>\n<answer> 2 </answer>"]
    assert [str(problem) for problem in found.problems] == [
        "row 2, column res: empty; put the res there or delete the row"
    ]


def test_a_column_that_is_not_there_is_an_error_though_another_would_do(tmp_path: Path) -> None:
    found = custom.examine(file_of(tmp_path, {"question": "1 + 1?", "answer": "2"}), None, {"answer": "anser"})
    assert found.complaint().endswith(
        "column anser: there is no such column; --columns must name columns of the file, which has question, answer"
    )


def test_no_column_for_a_part_names_the_flag(tmp_path: Path) -> None:
    assert "or say --columns question=COLUMN" in custom.examine(file_of(tmp_path, {"x": 1}), None).complaint()


def test_pairs_under_other_names(tmp_path: Path) -> None:
    file = file_of(tmp_path, {"ask": "hi", "good": "hello", "bad": "go"})
    columns = {"prompt": "ask", "chosen": "good", "rejected": "bad"}
    assert not looks_like_answers(file)
    assert looks_like_answers(file, columns)
    rows = local.examine(file, columns=columns).rows
    assert [(row["completion"], row["score"]) for row in rows] == [("hello", 1.0), ("go", 0.0)]


@pytest.mark.parametrize("name", ["conversations", "messages"])
def test_conversations_as_sharegpt_writes_them(name: str, tmp_path: Path) -> None:
    file = file_of(tmp_path, {name: [{"from": "system", "value": "be brief"}, *SHARED]})
    assert looks_like_answers(file)
    (row,) = local.examine(file).rows
    assert (row["prompt"], row["completion"]) == ([BRIEF, ASKED], "hello")


def test_a_speaker_nobody_knows_is_named(tmp_path: Path) -> None:
    file = file_of(tmp_path, {"conversations": SHARED}, {"conversations": [SHARED[0], {"from": "tool", "value": "x"}]})
    (problem,) = local.examine(file).problems
    assert str(problem) == (
        "row 2, column conversations: unknown role (message 2: 'tool'); use system, user or assistant (human, gpt)"
    )


def test_answers_that_are_one_message_each(tmp_path: Path) -> None:
    pair = {"chosen": SHARED[1], "rejected": {"role": "assistant", "content": "go"}}
    rows = local.examine(file_of(tmp_path, {"prompt": "hi", **pair})).rows
    assert [row["completion"] for row in rows] == ["hello", "go"]


@pytest.mark.parametrize(
    "row",
    [
        {"question": "hi", "chosen": "hello", "rejected": "go"},  # Orca's pairs
        {"prompt": "hi", "completion": "hello", "label": True},
        {"instruction": "hi", "output": "hello"},
        {"messages": [ASKED, {"role": "assistant", "content": "hello"}]},
    ],
)
def test_a_system_prompt_of_its_own_column_comes_first(row: dict[str, Any], tmp_path: Path) -> None:
    found = local.examine(file_of(tmp_path, {"system": "be brief", **row}, {"system": "", **row}))
    assert not found.problems
    assert found.rows[0]["prompt"] == [BRIEF, ASKED]
    assert found.rows[-1]["prompt"] == [ASKED]
    # What was answered under another system prompt is not compared.
    assert found.rows[0]["group"] != found.rows[-1]["group"]


def test_two_different_system_prompts_are_a_fault(tmp_path: Path) -> None:
    row = {"system": "be long", "messages": [BRIEF, ASKED, {"role": "assistant", "content": "hello"}]}
    (problem,) = local.examine(file_of(tmp_path, row)).problems
    assert "row 1, column system: another system prompt than the conversation's own" in str(problem)


def test_problems_with_a_system_column_are_told_that_it_is_not_used(tmp_path: Path) -> None:
    found = custom.examine(file_of(tmp_path, {"system": "s", "question": "1 + 1?", "answer": "2"}), None)
    assert found.source.notes == ["the column system is not used: problems are put by --prompt_style"]


def test_the_check_of_a_file_takes_them_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = file_of(tmp_path, {"q": "1 + 1?", "a": "2"}, {"q": "1 + 2?", "a": "3"})
    assert validate_cli.main([str(file), "--columns", "question=q,answer=a"]) == 0
    assert "question from column q, answer from column a" in capsys.readouterr().out
    assert validate_cli.main([str(file), "--columns", "question:q"]) == 1


VERL: dict[str, Any] = {
    "data_source": "openai/gsm8k",
    "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 30 + 6?"}],
    "ability": "math",
    "reward_model": {"style": "rule", "ground_truth": "36"},
    "extra_info": {"index": 0, "split": "train"},
}


def test_rows_as_verl_reads_them_are_questions_with_answers(tmp_path: Path) -> None:
    file = tmp_path / "verl.parquet"
    parquet.write_table(pa.Table.from_pylist([VERL]), file)
    found = custom.examine(file, None)
    assert not found.problems
    assert str(found.layout).startswith("rows in verl's format")
    first = found.rows[0]
    assert (first["hint"], first["reward_model"]["ground_truth"]) == ([], {"target": "36"})
    assert first["answer"].endswith("<answer> 36 </answer>")
    question = read_completion(first["prompt"][0]["content"])
    assert question is not None
    assert question.text.strip() == "What is 30 + 6?"
    # What has a solution and an answer of its own keeps them.
    assert custom.examine(file, "countdown").problems[0].column == "hint"


@pytest.mark.parametrize(
    ("wrong", "column", "said"),
    [
        ({"reward_model": {"style": "model"}}, "reward_model", "no answer"),
        ({"reward_model": {"ground_truth": {"target": 3}}}, "reward_model", "no answer"),
        ({"prompt": [*VERL["prompt"], {"role": "assistant", "content": "36"}]}, "prompt", "not one question"),
        ({"prompt": []}, "prompt", "not one question"),
        ({"prompt": "What is 30 + 6?"}, "prompt", "not one question"),
    ],
)
def test_a_row_of_verls_that_is_no_question_with_an_answer_is_named(
    wrong: dict[str, Any], column: str, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "verl.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in (VERL, {**VERL, **wrong})))
    [problem] = custom.examine(file, None).problems
    assert (problem.row, problem.column, problem.what) == (2, column, said)
