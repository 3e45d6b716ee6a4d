"""Imported countdown data: nothing is lost without being named, and every row gets a worked solution."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.countdown.generate import row_key
from data_prep.countdown.published import (
    convert_number_lists,
    load_number_lists,
    load_uft,
    prepare_from_number_lists,
    prepare_from_uft,
)
from data_prep.imported import LeftOut
from data_prep.schema import SchemaError, read_rows
from tests.helpers.countdown_checks import REFERENCE, check_row, reference, rows_of


def test_the_uft_files_load_whole_or_without_their_repetitions(tmp_path: Path) -> None:
    whole = load_uft(reference("train"))
    assert (len(whole.rows), whole.left_out) == (10_240, ())
    prepared, from_train, from_test = prepare_from_uft(REFERENCE, tmp_path)
    assert (prepared.n_train, prepared.n_test) == (10_213, 1_024)
    assert from_test == ()
    assert [out.row for out in from_train if out.reason == "is in the excluded set"] == [1324, 2030, 2038, 5860, 8764]
    assert LeftOut(2875, "duplicate of row 2769") in from_train
    assert len(from_train) == 27


def test_uft_rows_are_checked_and_repetitions_reported(tmp_path: Path) -> None:
    rows = rows_of(3)
    path = tmp_path / "train.parquet"
    pq.write_table(pa.Table.from_pylist([*rows, rows[1], rows[0]]), path)
    assert load_uft(path).rows == (*rows, rows[1], rows[0])
    loaded = load_uft(path, drop_duplicates=True, exclude={row_key(rows[2])})
    assert loaded.rows == (rows[0], rows[1])
    assert loaded.left_out == (
        LeftOut(2, "is in the excluded set"),
        LeftOut(3, "duplicate of row 1"),
        LeftOut(4, "duplicate of row 0"),
    )
    pq.write_table(pa.Table.from_pylist([rows[0], {**rows[1], "hint": ["other"]}]), path)
    with pytest.raises(SchemaError, match=r"train\.parquet, row 1, column answer"):
        load_uft(path)


def number_lists(path: Path, items: list[tuple[list[int], int]]) -> str:
    table = pa.table({"target": [target for _, target in items], "nums": [nums for nums, _ in items]})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return str(path)


ITEMS = [([44, 19, 35], 98), ([3, 3, 8, 8], 24), ([1, 1, 1], 97), ([35, 44, 19], 98), ([5], 5), ([63, 95, 96], 64)]


def test_number_lists_get_solutions_and_every_loss_is_named() -> None:
    items = [{"nums": nums, "target": target} for nums, target in ITEMS]
    imported = convert_number_lists(enumerate(items), "train", limit=10, exclude={((63, 95, 96), 64)})
    assert [row["reward_model"]["ground_truth"]["target"] for row in imported.rows] == [98, 24]
    for row in imported.rows:
        check_row(row, positive=False)
    assert imported.left_out == (
        LeftOut(2, "unsolvable: nums [1, 1, 1], target 97"),
        LeftOut(3, "duplicate of row 0"),
        LeftOut(4, "not a problem: nums [5], target 5"),
        LeftOut(5, "is in the excluded set"),
    )
    assert len(convert_number_lists(enumerate(items), "train", limit=1).rows) == 1


@pytest.mark.parametrize("form", ["file", "folder"])
def test_a_local_copy_of_the_hub_dataset_becomes_two_disjoint_files(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    draw = random.Random(0)
    items = ITEMS + [([draw.randint(1, 20) for _ in range(4)], draw.randint(10, 40)) for _ in range(60)]
    path = number_lists(tmp_path / "hub" / "train.parquet", items)
    source = path if form == "file" else str(tmp_path / "hub")
    assert load_number_lists(source)[0] == {"nums": [44, 19, 35], "target": 98}
    prepared, left_out = prepare_from_number_lists(tmp_path / "out", 20, 10, seed=3, source=source)
    rows = read_rows(prepared.train) + read_rows(prepared.test)
    assert len({row_key(row) for row in rows}) == 30
    originals = {(tuple(nums), target) for nums, target in items}
    for row in rows:
        check_row(row, positive=False)
        truth = row["reward_model"]["ground_truth"]
        assert (tuple(truth["numbers"]), truth["target"]) in originals
    for out in left_out:
        assert out.reason.startswith(("unsolvable", "duplicate", "not a problem"))
        if out.reason.startswith("unsolvable"):
            assert out.reason == f"unsolvable: nums {items[out.row][0]}, target {items[out.row][1]}"
    again, _ = prepare_from_number_lists(tmp_path / "again", 25, 10, seed=3, source=source)
    assert again.test.read_bytes() == prepared.test.read_bytes()
    with pytest.raises(ValueError, match=r"66 rows with only \d+ problems for train; asked for 500"):
        prepare_from_number_lists(tmp_path / "out", 500, 10, source=source)


def test_a_dataset_without_the_columns_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"numbers": [[1, 2]], "target": [3]}), path)
    with pytest.raises(ValueError, match=r"x\.parquet: lacks the columns nums; it has numbers, target"):
        load_number_lists(str(path))
