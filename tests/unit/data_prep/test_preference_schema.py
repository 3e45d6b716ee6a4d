"""The alignment row format: what may not stand in a file, and files that come back as they were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.preference.schema import is_preference_file, read_rows, validate_row, write_rows
from data_prep.preference.split import write_split
from data_prep.schema import SchemaError

USER = {"role": "user", "content": "q"}
GOOD: dict[str, Any] = {
    "prompt": [{"role": "system", "content": ""}, USER],
    "completion": " a\n",
    "score": 0.25,
    "feedback": "score",
    "group": "g",
    "data_source": "test",
    "extra_info": {"index": 0, "split": "train"},
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"prompt": None}, "column prompt: missing or null"),
        ({"prompt": []}, "column prompt: must be a list of messages"),
        ({"prompt": [{"role": "user"}]}, "every message must hold the texts role and content"),
        ({"prompt": [{"role": "tool", "content": "x"}, USER]}, "a role must be one of system, user, assistant"),
        ({"prompt": [USER, {"role": "assistant", "content": "x"}]}, "the last turn must be the user's"),
        ({"prompt": [{"role": "user", "content": " "}]}, "no turn of the user or the assistant may be blank"),
        ({"completion": " \n"}, "column completion: must be text, not blank"),
        ({"group": 3}, "column group: must be text"),
        ({"feedback": "stars"}, "column feedback: must be one of pairwise, binary, score, instruction"),
        ({"score": float("nan")}, "column score: must be a number from 0 to 1"),
        ({"score": 1.5}, "column score: must be a number from 0 to 1"),
        ({"score": True}, "column score: must be a number from 0 to 1"),
        ({"feedback": "binary"}, "column score: must be 0 or 1 where feedback is binary"),
        ({"feedback": "instruction"}, "column score: must be 1 for an instruction"),
        ({"extra_info": {"index": "0", "split": ""}}, "column extra_info: must hold index"),
    ],
)
def test_a_malformed_row_is_refused_with_its_place(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    with pytest.raises(SchemaError, match=r"file, row 3, column") as error:
        validate_row({**GOOD, **change}, "file, row 3")
    assert expected in str(error.value)
    with pytest.raises(SchemaError, match="row 1, column"):
        write_rows(tmp_path / "x.parquet", [GOOD, {**GOOD, **change}])
    assert list(tmp_path.iterdir()) == []


def test_a_group_has_one_prompt_and_one_kind_of_feedback(tmp_path: Path) -> None:
    other = {**GOOD, "prompt": [{"role": "user", "content": "another"}]}
    with pytest.raises(SchemaError, match=r"row 1, column group: 'g' is also the group of row 0, .* another prompt"):
        write_rows(tmp_path / "x.parquet", [GOOD, other])
    with pytest.raises(SchemaError, match="another feedback"):
        write_rows(tmp_path / "x.parquet", [GOOD, {**GOOD, "feedback": "binary", "score": 1.0}])


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@settings(max_examples=10)
@given(st.lists(st.tuples(texts, texts, st.floats(0, 1)), min_size=1, max_size=5))
def test_files_come_back_letter_for_letter(
    tmp_path_factory: pytest.TempPathFactory, answers: list[tuple[str, str, float]]
) -> None:
    rows = [
        {**GOOD, "prompt": [{"role": "user", "content": q}], "completion": a, "score": s, "group": str(n)}
        for n, (q, a, s) in enumerate(answers)
    ]
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    write_rows(path, rows)
    assert read_rows(path) == rows
    assert is_preference_file(path)


def test_train_and_test_share_no_conversation(tmp_path: Path) -> None:
    grown = {**GOOD, "prompt": [{"role": "user", "content": "Q "}, {"role": "assistant", "content": "x"}, USER]}
    with pytest.raises(SchemaError, match=r"train.parquet, row 0, column prompt: the conversation begins like"):
        write_split(tmp_path, [grown], [GOOD])  # type: ignore[list-item]
    with pytest.raises(SchemaError, match=r"test.parquet would have no rows"):
        write_split(tmp_path, [GOOD], [])  # type: ignore[list-item]
    assert not (tmp_path / "train.parquet").exists()


def test_other_files_are_not_taken_for_preferences(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("no parquet")
    assert not is_preference_file(tmp_path / "x.parquet")
    assert not is_preference_file(tmp_path / "none.parquet")
    with pytest.raises(SchemaError, match="not a readable parquet file"):
        read_rows(tmp_path / "x.parquet")
