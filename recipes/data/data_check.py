"""Refuses data that a run cannot train on, before anything starts."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet

from recipes.common.errors import ExperimentError
from recipes.data import composed
from recipes.data.datafiles import DataFiles, batch_size_of, made
from recipes.data.hint_check import refuse_paid_hints, texts_per_row
from recipes.data.prompt_check import refuse_long_prompts
from recipes.data.solution_check import (
    refuse_failing_reward,
    refuse_long_solutions,
    refuse_unpaid_solutions,
)
from recipes.data.stored_tokenizer import stored_tokenizer
from recipes.settings.applies import reads_solutions
from recipes.settings.experiment import Experiment
from recipes.settings.tasks import TASKS
from reward_fns import RANDOM, is_graded, told_when_slow


def check_training(experiment: Experiment, files: DataFiles, *, fetch: bool = False) -> None:
    """Refuse files that cannot fill a batch, share problems with the test file, or defeat their reward.

    Args:
        fetch: download the tokenizer used to judge solutions and hints from the hub if it is not local.

    Raises:
        ExperimentError: naming the rows.
    """
    from data_prep.contamination import ContaminationError, overlaps, raise_if_overlap

    on_answers = experiment.data_kind == "answers"
    batch_size = batch_size_of(experiment)
    # Rows of answers are counted later, as pairs or labels depending on the method (recipes/trl_plugin/plan.py).
    if files.n_train < batch_size and not on_answers:
        raise ExperimentError(
            f"--data {experiment.data}: {files.n_train} rows, fewer than --batch_size {batch_size}: not enough for "
            f"one step; use --batch_size {max(1, files.n_train)} or less"
        )
    if on_answers:
        _check_answers(experiment, files)
        return
    check_reward(experiment, files.train)
    if experiment.reward == RANDOM:  # says nothing about the data, which their own reward judges
        experiment = replace(experiment, reward=None)
    if reads_solutions(experiment.algorithm) and unsolved_rows(files) == files.n_train:
        raise ExperimentError(
            f"--data {experiment.data}: none of the {files.n_train} training problems has a solution, which --algo "
            f"{experiment.algorithm.name} needs: add solutions, or choose --algo rft"
        )
    tokenizer = stored_tokenizer(experiment.model, fetch=fetch)
    with told_when_slow(experiment.reward):
        refuse_unpaid_solutions(experiment, files.train, tokenizer)
        refuse_paid_hints(experiment, files.train, tokenizer)
    refuse_long_solutions(experiment, files.train, tokenizer)
    refuse_long_prompts(experiment, (files.train, files.test), tokenizer)
    try:
        raise_if_overlap(overlaps(files.train, [files.test]), experiment.allow_overlap)
    except ContaminationError as error:
        raise ExperimentError(str(error)) from None


def check_reward(experiment: Experiment, file: Path) -> None:
    """Refuse a reward that cannot be loaded or cannot score the file's problems.

    Raises:
        ExperimentError: saying what is wrong with it.
    """
    if experiment.reward is None:
        return
    try:
        is_graded(experiment.reward)
    except Exception as error:  # a user's file may raise anything
        raise ExperimentError(f"--reward {error}") from None
    with told_when_slow(experiment.reward):
        refuse_failing_reward(experiment, file)


def unsolved_rows(files: DataFiles) -> int:
    """Number of training problems without a solution to take hints from."""
    schema = parquet.read_schema(files.train)
    if "hint" not in schema.names or not pa.types.is_list(schema.field("hint").type):
        return 0
    return texts_per_row(parquet.ParquetFile(files.train).read(columns=["hint"])["hint"]).count(0)


def _check_answers(experiment: Experiment, files: DataFiles) -> None:
    """Check that every row is complete, and that no test conversation begins like a training conversation."""
    from data_prep.preference.schema import read_rows
    from data_prep.preference.split import shared_beginnings

    try:
        train, test = read_rows(files.train), read_rows(files.test)
    except ValueError as error:
        raise ExperimentError(str(error)) from None
    common = shared_beginnings(train, test)
    if common and not experiment.allow_overlap:
        number, at = common[0]
        raise ExperimentError(
            f"{len(common)} rows of {files.train} begin like rows of {files.test}; first: row {number} like row {at} "
            f"(counted from 0). Remove them, or add --allow_overlap"
        )


def check_own_parts(experiment: Experiment, root: Path) -> None:
    """Read a user's own files when other data sets still have to be downloaded or generated.

    Raises:
        ExperimentError: naming the rows that cannot be read.
    """
    if not composed.is_composed(experiment):
        return
    for where in composed.places(experiment):
        if where not in TASKS and Path(where).exists():
            with made(composed.part_of(experiment, where), root, keep=False):
                pass
