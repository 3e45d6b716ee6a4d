"""The row format: what it accepts, how it names what is wrong, and that files are written whole and reproducibly."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.schema import COLUMNS, SchemaError, build_row, content_hash, normalise_row, plain, read_rows, write_rows
from tests import ROOT

REFERENCE = ROOT.parent / "shared" / "reference_data"


def row(index: int = 0, **changes: Any) -> dict[str, Any]:
    built: dict[str, Any] = dict(
        build_row(
            prompt="What is 1 + 2? <think> ",
            hint=["1 + 2 = 3\n", "So it is 3"],
            final_answer="3",
            data_source="sums",
            ability="math",
            ground_truth={"numbers": [1, 2], "target": 3},
            index=index,
            split="train",
        )
    )
    return {**copy.deepcopy(built), **changes}


def test_a_row_is_built_in_the_published_layout() -> None:
    built = row(7)
    assert tuple(built) == COLUMNS
    assert built["prompt"] == [{"role": "user", "content": "What is 1 + 2? <think> "}]
    assert built["answer"] == "1 + 2 = 3\nSo it is 3 </think>\n<answer> 3 </answer>"
    assert built["reward_model"] == {"style": "rule", "ground_truth": {"numbers": [1, 2], "target": 3}}
    assert built["extra_info"] == {"index": 7, "split": "train"}


def test_rows_survive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "train.parquet"
    rows = [row(i) for i in range(3)]
    write_rows(path, rows)
    assert read_rows(path) == rows
    assert pq.read_table(path).column_names == list(COLUMNS)


def test_numpy_values_become_lists_and_numbers(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    write_rows(path, [row(0), row(1)])
    from_pandas = pd.read_parquet(path).to_dict("records")
    assert isinstance(from_pandas[0]["hint"], np.ndarray)
    assert [normalise_row(item, "row") for item in from_pandas] == [row(0), row(1)]
    assert plain({"a": np.arange(2), "b": [np.int64(3)], "c": (np.float32(0.5), "text", None)}) == {
        "a": [0, 1],
        "b": [3],
        "c": [0.5, "text", None],
    }


def test_rows_without_a_solution_keep_their_column_types(tmp_path: Path) -> None:
    path = tmp_path / "test.parquet"
    write_rows(path, [row(hint=[], answer=" </think>\n<answer> 3 </answer>")])
    assert pq.read_schema(path).field("hint").type == pa.list_(pa.string())


@pytest.mark.parametrize(
    ("changes", "column", "rule"),
    [
        ({"prompt": None}, "prompt", "missing or null"),
        ({"prompt": []}, "prompt", "list of messages"),
        ({"prompt": "text"}, "prompt", "list of messages"),
        ({"prompt": [{"role": "user"}]}, "prompt", "role and content"),
        ({"hint": "text"}, "hint", "list of texts"),
        ({"hint": ["a", 1]}, "hint", "list of texts"),
        ({"hint": ["a </th", "ink> b"]}, "hint", "must not contain </think>"),
        ({"hint": ["it is <answer> 3"]}, "hint", "must not contain <answer>"),
        ({"answer": "1 + 2 = 3\nSo it is 3 <answer> 3 </answer>"}, "answer", "joined hint"),
        ({"hint": ["another"]}, "answer", "joined hint"),
        ({"answer": 3}, "answer", "must be text"),
        ({"data_source": 3}, "data_source", "must be text"),
        ({"ability": None}, "ability", "missing or null"),
        ({"reward_model": {"style": "rule"}}, "reward_model", "style and ground_truth"),
        ({"reward_model": {"ground_truth": 3}}, "reward_model", "style and ground_truth"),
        ({"extra_info": {"index": "0", "split": "train"}}, "extra_info", "index"),
        ({"extra_info": {"index": 0}}, "extra_info", "split"),
    ],
)
def test_a_bad_row_is_named_with_file_row_and_column(
    tmp_path: Path, changes: dict[str, Any], column: str, rule: str
) -> None:
    path = tmp_path / "train.parquet"
    with pytest.raises(SchemaError) as raised:
        write_rows(path, [row(0), row(1, **changes)])
    message = str(raised.value)
    assert message.startswith(f"{path}, row 1, column {column}: ")
    assert rule in message
    assert list(tmp_path.iterdir()) == []


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    with pytest.raises(SchemaError, match="no such file"):
        read_rows(path)
    path.write_text("not parquet")
    with pytest.raises(SchemaError, match="not a readable parquet file"):
        read_rows(path)
    pq.write_table(pa.table({"prompt": ["x"], "target": [3]}), path)
    with pytest.raises(SchemaError, match=r"lacks the columns hint, answer, .*; it has prompt, target"):
        read_rows(path)
    broken = row(1)
    broken["hint"] = ["another"]
    pq.write_table(pa.Table.from_pylist([row(0), broken]), path)
    with pytest.raises(SchemaError, match=r"train\.parquet, row 1, column answer"):
        read_rows(path)
    with pytest.raises(SchemaError, match="no rows to write"):
        write_rows(path, [])


def test_ground_truths_of_different_types_are_refused(tmp_path: Path) -> None:
    other = row(1, reward_model={"style": "rule", "ground_truth": "3"})
    with pytest.raises(SchemaError, match="column reward_model: ground_truth must have one type"):
        write_rows(tmp_path / "train.parquet", [row(0), other])


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "train.parquet"
    write_rows(path, [row(0)])
    before = path.read_bytes()

    def half_written(table: pa.Table, where: Path) -> None:
        where.write_bytes(b"PAR1 half")
        raise OSError("no space left on device")

    monkeypatch.setattr("pyarrow.parquet.write_table", half_written)
    with pytest.raises(OSError, match="no space left"):
        write_rows(path, [row(0), row(1)])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_hash_sees_the_content_only(tmp_path: Path) -> None:
    plain_file, packed, other, swapped = (tmp_path / name for name in ("a", "b", "c", "d"))
    write_rows(plain_file, [row(0), row(1)])
    table = pq.read_table(plain_file)
    pq.write_table(table.select(list(reversed(table.column_names))), packed, compression="gzip", row_group_size=1)
    write_rows(other, [row(0), row(2)])
    write_rows(swapped, [row(1), row(0)])
    assert plain_file.read_bytes() != packed.read_bytes()
    assert content_hash(plain_file) == content_hash(packed)
    assert len({content_hash(path) for path in (plain_file, other, swapped)}) == 3
    assert content_hash(plain_file) == "1ff1e2aede00ba69373cff5122bb96a71a3416e6df15f20b8c3df00fc1bb2f5d"


@pytest.mark.parametrize("name", ["countdown/train", "countdown/test", "kk_logic/train", "math/test", "others/test"])
def test_the_published_files_load_as_they_are(name: str) -> None:
    path = REFERENCE / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"the published data is not at {path}")
    assert len(read_rows(path)) == pq.ParquetFile(path).metadata.num_rows
