"""verl skips problems with long prompts and reports it only in a cryptic line."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from recipes.watch.heartbeat import NOTICE


def report_skipped(data: Any, train_dataset: Any, val_dataset: Any) -> None:
    """Print a notice if datasets have fewer problems than their files.

    Args:
        data: verl's section `data`.
    """
    for kind, dataset, named, most in (
        ("training", train_dataset, data.train_files, data.train_max_samples),
        ("test", val_dataset, data.val_files, data.val_max_samples),
    ):
        files = [named] if isinstance(named, str) else list(named)
        if not all(file.endswith(".parquet") and Path(file).exists() for file in files):
            continue  # set by an override: verl also reads other formats and locations
        rows = sum(parquet.ParquetFile(file).metadata.num_rows for file in files)
        rows = min(rows, most) if most > 0 else rows
        if skipped := rows - len(dataset):
            limit = f"--max_prompt_length {data.max_prompt_length}"
            print(f"{NOTICE}{skipped} of {rows} {kind} problems are skipped: prompts longer than {limit} tokens")
