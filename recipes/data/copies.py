"""A run's own copies of its problems: in its prompt style, and the ones that it validates on."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as parquet

from data_prep.prompt_styles import STYLES, restyle_file
from data_prep.schema import write_table
from data_prep.split import chosen_rows
from recipes.common.errors import ExperimentError
from recipes.data.datafiles import DataFiles
from recipes.settings.experiment import Experiment


def styled(experiment: Experiment, files: DataFiles, folder: Path) -> DataFiles:
    """The files in the experiment's prompt style: unchanged for "completion", the style of files, else copies in
    `folder`.

    Raises:
        ExperimentError: if the question cannot be found in a prompt.
    """
    # Prompts of answers are conversations; their trainer applies the style itself.
    if experiment.prompt_style == "completion" or experiment.data_kind == "answers":
        return files
    style = STYLES[experiment.prompt_style]
    copies = replace(files, train=folder / files.train.name, test=folder / files.test.name)
    for source, copy in {files.test: copies.test, files.train: copies.train}.items():
        if not copy.exists():
            try:
                restyle_file(source, copy, style)
            except ValueError as error:
                raise ExperimentError(str(error)) from None
    return copies


def narrowed(experiment: Experiment, files: DataFiles, folder: Path) -> DataFiles:
    """The files with a test file in `folder` that holds the problems chosen by --val_size; unchanged if that is all.

    Trainers validate on all of it, so that every stage and evaluation uses the same problems.
    """
    # Rows of answers are counted by kind, in their trainer.
    if not 0 < experiment.val_size < files.n_test or experiment.data_kind == "answers":
        return files
    copy = folder / "validation.parquet"
    if not copy.exists():
        write_table(copy, parquet.ParquetFile(files.test).read().take(chosen_rows(files.n_test, experiment.val_size)))
    return replace(files, test=copy, n_test=experiment.val_size)
