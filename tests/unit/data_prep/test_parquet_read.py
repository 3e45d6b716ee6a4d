"""Parquet files that unfold to more than memory are refused before they do; others are read whole."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.files import parquet as parquet_read
from data_prep.files.parquet import TooLargeError, read_parquet, refuse_too_large
from data_prep.files.read import read_file
from data_prep.files.tables import read_file as read_benchmark
from recipes.common.errors import ExperimentError
from recipes.data.datafiles import locate
from tests import ROOT
from tests.helpers.front_checks import experiment, small_folder


@pytest.fixture(params=[True, False], ids=["dictionaries", "texts"])
def bomb(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A text of a megabyte in each of 2,000 rows, stored once; read as what its schema says."""
    monkeypatch.setattr(parquet_read, "LARGEST", 300 << 20)
    path = tmp_path / "train.parquet"
    texts, rows = pa.array(["x" * (1 << 20)]), pa.array([0] * 2000, pa.int32())
    table = pa.table({"question": pa.DictionaryArray.from_arrays(rows, texts)})
    pq.write_table(table, path, compression="zstd", store_schema=request.param)
    assert path.stat().st_size < 100_000
    return path


def test_a_value_that_many_rows_repeat_is_refused_after_some_of_them(bomb: Path) -> None:
    for read in (read_parquet, refuse_too_large, read_benchmark):
        with pytest.raises(TooLargeError, match=r"unfold to more than 0\.29\d* GiB of rows"):
            read(bomb)
    (problem,) = read_file(bomb).problems
    assert problem.what == "too large"


def test_a_row_group_that_says_it_is_too_large_is_not_unfolded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "train.parquet"
    rows = pa.table({"question": ["y" * (1 << 20) + str(row) for row in range(8)]})
    pq.write_table(rows, path, compression="zstd", use_dictionary=False)
    assert read_parquet(path) == rows
    monkeypatch.setattr(parquet_read, "LARGEST", 1 << 20)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)
    with pytest.raises(TooLargeError):
        read_parquet(path)


def test_a_folder_of_data_is_looked_at_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    e = experiment(small_folder(tmp_path / "countdown"))
    monkeypatch.setattr(parquet_read, "LARGEST", 1000)
    with pytest.raises(ExperimentError, match="unfold to more than"):
        locate(e, ROOT)
