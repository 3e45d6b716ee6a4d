"""The rows of a run, from the files that a run would train on."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from recipes import ROOT
from recipes.data import copies, data_check, datafiles
from recipes.data.demonstrations import demonstrated
from recipes.settings.experiment import Experiment


def rows_of(
    experiment: Experiment, folder: Path, *, check: bool = True
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(training rows, test rows), as recipes/run/launch.py has them made; copies of a run's own go into `folder`.

    Args:
        check: whether to look for faults of the data (seconds), which a scan has done for another method.
    """
    files = datafiles.prepared(experiment, ROOT)
    if check:
        data_check.check_training(experiment, files, fetch=True)
    files = copies.styled(experiment, files, folder)
    files = copies.narrowed(experiment, files, folder)
    files = demonstrated(experiment, files, folder)
    return parquet.read_table(files.train).to_pylist(), parquet.read_table(files.test).to_pylist()
