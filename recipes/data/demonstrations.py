"""A run's own training file if its solutions differ from the data's: fewer, worse or from other problems."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet

from data_prep.schema import write_table
from recipes.common.errors import ExperimentError
from recipes.data.datafiles import DataFiles
from recipes.data.hint_check import left
from recipes.settings.experiment import Experiment

SOLVED = "solved.parquet"


def demonstrated(experiment: Experiment, files: DataFiles, folder: Path) -> DataFiles:
    """Copies of the files in `folder` with the solutions the experiment keeps; the files themselves if it keeps all.

    Raises:
        ExperimentError: if a supervised stage has too few solutions for a step.
    """
    how = experiment.solutions_left
    if not how.changes or experiment.data_kind == "answers":
        return files
    folder = folder / "demonstrations"
    copy = folder / files.train.name
    if not ((folder / SOLVED).exists() and copy.exists()):
        table = parquet.read_table(files.train)
        rows, count = left(experiment, table.to_pylist())
        write_table(copy, pa.Table.from_pylist(rows, schema=table.schema))
        write_table(folder / SOLVED, pa.Table.from_pylist([row for row in rows if row["answer"]], schema=table.schema))
        print(f"demonstrations: {count}", flush=True)
    n_solved = int(parquet.ParquetFile(folder / SOLVED).metadata.num_rows)
    if "sft" in experiment.stages and n_solved < experiment.batch_size:
        raise ExperimentError(
            f"--demonstrations {experiment.demonstrations}: {n_solved} problems have a solution, fewer than "
            f"--batch_size {experiment.batch_size}: not enough for one supervised step"
        )
    return replace(files, train=copy)


def taught(experiment: Experiment, files: DataFiles) -> DataFiles:
    """Files for a supervised stage: the problems of `demonstrated`'s files that have a solution."""
    how, solved = experiment.solutions_left, files.train.with_name(SOLVED)
    if not how.changes:
        return files
    if not solved.exists():  # in a dry run
        return replace(files, n_train=round(how.share * files.n_train))
    return replace(files, train=solved, n_train=int(parquet.ParquetFile(solved).metadata.num_rows))
