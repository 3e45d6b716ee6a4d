"""The files of a run: a task's generated files, or the user's folder, checked before anything starts."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from recipes.experiment import Experiment, ExperimentError
from recipes.run_dir import write_json
from recipes.tasks import TASKS

REQUIRED_COLUMNS = ("prompt", "answer", "data_source", "reward_model", "extra_info")


@dataclass(frozen=True)
class DataFiles:
    """Train and test files with their sizes."""

    train: Path
    test: Path
    n_train: int
    n_test: int
    generate: dict[str, Any] | None
    """Arguments of the generator when the files do not exist yet."""


def locate(experiment: Experiment, root: Path) -> DataFiles:
    """Where the data of an experiment is or will be. Writes nothing.

    Raises:
        ExperimentError: when a folder lacks a file or a file a column, or holds too few rows for a batch.
    """
    if experiment.data in TASKS:
        options = {**experiment.data_options, "seed": 0}
        name = f"{experiment.data}-{hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:8]}"
        folder = root / "data" / name
        if not (folder / "options.json").exists():
            return DataFiles(
                folder / "train.parquet", folder / "test.parquet", options["n_train"], options["n_test"], options
            )
    else:
        folder = Path(experiment.data)
    train, test = folder / "train.parquet", folder / "test.parquet"
    return DataFiles(train, test, _checked_rows(train, experiment), _checked_rows(test, experiment), None)


def prepare(experiment: Experiment, files: DataFiles) -> None:
    """Generate the files of a task if they are not there yet, and check that a batch can be filled."""
    if files.generate is not None:
        options = dict(files.generate)
        from data_prep import countdown

        countdown.prepare(files.train.parent, **options)
        write_json(files.train.parent / "options.json", options)
    if files.n_train < experiment.batch_size:
        raise ExperimentError(
            f"{files.train} has {files.n_train} rows, fewer than --batch_size {experiment.batch_size}: "
            f"no step could be made"
        )


def _checked_rows(file: Path, experiment: Experiment) -> int:
    if not file.exists():
        raise ExperimentError(f"--data {experiment.data}: {file} does not exist")
    table = parquet.ParquetFile(file)
    required = (*REQUIRED_COLUMNS, *(("hint",) if experiment.algorithm.uses_hints else ()))
    missing = [name for name in required if name not in table.schema_arrow.names]
    if missing:
        raise ExperimentError(
            f"{file}: no column {missing[0]!r}; --algo {experiment.algo} needs {', '.join(required)} "
            f"(found: {', '.join(table.schema_arrow.names)})"
        )
    return int(table.metadata.num_rows)
