"""Reads untrusted parquet files: a few megabytes may decompress to more than the machine's memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

LARGEST = 4 << 30
"""Bytes of rows that a file may decompress to."""

_ROWS = 256
"""Rows read at a time: a value repeated in many rows is stored only once."""


class TooLargeError(ValueError):
    """A parquet file decompresses to more than LARGEST."""


def read_parquet(path: Path) -> pa.Table:
    """All rows of a file.

    Raises:
        TooLargeError: they are larger than LARGEST.
        OSError, pyarrow.ArrowException: it cannot be read.
    """
    with pq.ParquetFile(path) as file:
        return pa.Table.from_batches(list(_batches(file, path)), file.schema_arrow)


def refuse_too_large(path: Path) -> None:
    """Raise TooLargeError if `read_parquet` would, without keeping the rows in memory."""
    with pq.ParquetFile(path) as file:
        for _ in _batches(file, path):
            pass


def _batches(file: pq.ParquetFile, path: Path) -> Iterator[pa.RecordBatch]:
    groups = range(file.metadata.num_row_groups)
    unfolded = sum(file.metadata.row_group(group).total_byte_size for group in groups)
    _refuse(unfolded, path)
    unfolded = 0
    for batch in file.iter_batches(_ROWS):
        unfolded += sum(_size(column) for column in batch.columns)
        _refuse(unfolded, path)
        yield batch


def _size(column: pa.Array) -> int:
    # As in Python: every row with its own copy of a text.
    plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    return int(plain.nbytes)


def _refuse(unfolded: int, path: Path) -> None:
    if unfolded > LARGEST:
        raise TooLargeError(
            f"{path}: {path.stat().st_size:,} bytes unfold to more than {LARGEST / 2**30:g} GiB of rows; "
            f"cut it into smaller files"
        )
