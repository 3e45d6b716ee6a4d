"""verl drops problems with long prompts, and prints what is left in a line that only its authors can read."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from recipes.watch.heartbeat import NOTICE


def say_what_is_left_out(data: Any, train_dataset: Any, val_dataset: Any) -> None:
    """A notice where datasets hold fewer problems than their files.

    Args:
        data: verl's section of that name.
    """
    for kind, dataset, named, most in (
        ("training", train_dataset, data.train_files, data.train_max_samples),
        ("test", val_dataset, data.val_files, data.val_max_samples),
    ):
        files = [named] if isinstance(named, str) else list(named)
        if not all(file.endswith(".parquet") and Path(file).exists() for file in files):
            continue  # an override's: verl reads other kinds, and from other places
        rows = sum(parquet.ParquetFile(file).metadata.num_rows for file in files)
        rows = min(rows, most) if most > 0 else rows
        if left_out := rows - len(dataset):
            limit = f"--max_prompt_length {data.max_prompt_length}"
            print(f"{NOTICE}{left_out} of {rows} {kind} problems are skipped: prompts longer than {limit} tokens")
