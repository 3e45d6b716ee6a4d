"""The data files of a run, from a task's generator or a user's file or folder; checked before anything starts."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from data_prep.files.parquet import TooLargeError, refuse_too_large
from data_prep.tasks import prepare as prepare_task
from recipes.common.errors import ExperimentError
from recipes.common.run_dir import write_json
from recipes.data import composed
from recipes.data.composed import TEST_SHARE
from recipes.data.solution_check import file_name
from recipes.settings.applies import reads_solutions
from recipes.settings.data_sets import data_title, several
from recipes.settings.experiment import Experiment
from recipes.settings.tasks import TASKS
from recipes.watch.scratch import data_folder
from reward_fns import RANDOM

REQUIRED_COLUMNS = ("prompt", "answer", "data_source", "reward_model", "extra_info")
OPTIONS_FILE = "options.json"
"""Written last: a folder of generated files is complete if it has this file."""

LARGE_FILE = 50_000_000
"""Bytes of user data above which --dry_run does not read them (it would take half a minute)."""

MANY_ROWS = 8_000_000
"""Bytes of user data that are certain to have enough rows for any batch."""

_SAMPLED = 64
"""Rows of a generated task that --dry_run checks."""


@dataclass(frozen=True)
class DataFiles:
    """Train and test files with their row counts; n_train is 0 for evaluations, and for data not loaded yet."""

    train: Path
    test: Path
    n_train: int
    n_test: int
    generate: dict[str, Any] | None
    """Arguments of the generator if the files do not exist yet."""


def locate(experiment: Experiment, root: Path) -> DataFiles:
    """Where an experiment's data is or will be. Writes nothing.

    Raises:
        ExperimentError: if a folder lacks a file or a file lacks a column.
    """
    source = Path(experiment.data)
    if composed.is_composed(experiment):
        options = composed.options(experiment)
        folder = root / "data" / f"{data_title(experiment.data)}-{_hash(json.dumps(options, sort_keys=True).encode())}"
    elif experiment.data in TASKS:
        options = {**experiment.data_options, "seed": 0}
        folder = root / "data" / f"{experiment.data}-{_hash(json.dumps(options, sort_keys=True).encode())}"
    elif source.is_file():
        # One split for all seeds: compared runs and their evaluations need the same test problems.
        options = {"path": str(source.resolve()), "seed": 0, "test_share": TEST_SHARE}
        # The random control leaves the rows unchanged.
        reward = None if experiment.reward == RANDOM else experiment.reward
        options |= experiment.data_options | ({} if experiment.data_kind == "answers" else {"reward": reward})
        folder = root / "data" / f"{source.stem}-{_hash(json.dumps(options).encode() + source.read_bytes())}"
    else:
        options, folder = {}, source
    train, test = folder / "train.parquet", folder / "test.parquet"
    if options and not (folder / OPTIONS_FILE).exists():
        return DataFiles(train, test, options.get("n_train", 0), options.get("n_test", 0), options)
    return _counted(experiment, DataFiles(train, test, 0, 0, None))


def prepare(experiment: Experiment, files: DataFiles, root: Path) -> None:
    """Make the files of a task, a user's file or several data sets if they do not exist yet.

    Args:
        root: the files of each of several data sets go into its folder data/.

    Raises:
        ExperimentError: saying what is wrong with the data, and where.
    """
    if files.generate is None:
        return
    folder = files.test.parent
    try:
        if composed.is_composed(experiment):
            composed.write(experiment, folder, lambda part: prepared(part, root))
        elif experiment.data_kind == "answers":
            _prepare_answers(experiment.data, folder, files.generate)
        elif experiment.data in TASKS:
            prepare_task(experiment.data, folder, **files.generate)
        else:
            from data_prep.problems.prepare import prepare_file

            options = {**files.generate, "path": Path(files.generate["path"])}
            prepare_file(out_dir=folder, test_file=None, **options)
    except (ValueError, OSError) as error:
        raise _about(experiment, error) from error
    write_json(folder / OPTIONS_FILE, files.generate)


def _about(experiment: Experiment, error: Exception) -> ExperimentError:
    if str(error).startswith(("--", "REWARD_")):  # already names a data set or variable
        return ExperimentError(str(error))
    tests = several(experiment.val_data, "val_data") if experiment.val_data else []
    of_test = next((each for each in tests if str(error).startswith((each, str(Path(each).resolve())))), None)
    return ExperimentError(f"--val_data {error}" if of_test else f"--data {experiment.data}: {error}")


def prepared(experiment: Experiment, root: Path) -> DataFiles:
    """The files of the experiment's data, made if they do not exist."""
    files = locate(experiment, root)
    if files.generate is not None:
        print(f"preparing {files.test.parent}", flush=True)
        prepare(experiment, files, root)
        files = locate(experiment, root)
    return files


@contextmanager
def made(experiment: Experiment, root: Path, *, keep: bool) -> Iterator[DataFiles]:
    """The files of a user's own data, made if they do not exist: permanently (`keep`), or just for the block.

    Nothing is made (`generate` stays set) if data would have to be downloaded or generated, unless the rows are too few
    for a batch, or if a large file would not be kept.
    """
    files = locate(experiment, root)
    source = _at_hand(experiment)
    few = source is None and files.n_train and files.n_train < batch_size_of(experiment)
    if (
        files.generate is None
        or (source is None and not few)
        or (source and not keep and sum(map(_size, source)) > LARGE_FILE)
    ):
        if source and files.generate is not None:
            print(
                f"--data {experiment.data}: more than {LARGE_FILE // 10**6} MB, only read and checked by the real run"
            )
        yield files
    elif keep:
        prepare(experiment, files, root)
        yield locate(experiment, root)
    else:
        with data_folder() as folder, _told_of(experiment, folder):
            place = replace(files, train=folder / files.train.name, test=folder / files.test.name)
            prepare(experiment, place, folder)
            yield _counted(experiment, place)


@contextmanager
def _told_of(experiment: Experiment, folder: Path) -> Iterator[None]:
    """In errors, name the sources of temporary files: the files are gone by the time the error is read."""
    try:
        yield
    except ExperimentError as error:
        said = str(error)
        for file in (folder / "train.parquet", folder / "test.parquet"):
            said = said.replace(str(file), file_name(experiment, file))
        raise ExperimentError(said) from None


@contextmanager
def sampled(experiment: Experiment) -> Iterator[DataFiles | None]:
    """The experiment's files with only a few problems of each generated task, for the duration of the block, to check
    data not generated yet; n_train is the full count. None if rows would have to be downloaded or are slow to read."""
    parts = [composed.part_of(experiment, where) for where in composed.places(experiment)]
    own = [Path(part.data) for part in parts if part.data not in TASKS]
    generated = all(_is_generated(part) for part in parts if part.data in TASKS)
    readable = all(map(Path.exists, own)) and sum(map(_size, own)) <= LARGE_FILE
    several_answers = experiment.data_kind == "answers" and composed.is_composed(experiment)
    if not generated or not readable or several_answers:
        yield None
        return
    with data_folder() as folder, _told_of(experiment, folder):
        if not composed.is_composed(experiment):
            yield replace(_few(experiment, folder), n_train=experiment.data_options["n_train"])
            return
        try:
            n_train = composed.write_few(experiment, folder, lambda part: _few(part, folder / data_title(part.data)))
        except (ValueError, OSError) as error:
            raise _about(experiment, error) from error
        found = _counted(experiment, DataFiles(folder / "train.parquet", folder / "test.parquet", 0, 0, None))
        yield replace(found, n_train=n_train)


def _is_generated(experiment: Experiment) -> bool:
    return experiment.data_options.keys() >= {"n_train", "n_test"}


def _few(experiment: Experiment, folder: Path) -> DataFiles:
    """A task's files with a few of its problems, made in `folder`; a user's folder unchanged."""
    if experiment.data not in TASKS:
        return prepared(experiment, folder)
    options = experiment.data_options
    few = {name: min(options[name], max(_SAMPLED, batch_size_of(experiment))) for name in ("n_train", "n_test")}
    place = DataFiles(folder / "train.parquet", folder / "test.parquet", 0, 0, {**options, **few, "seed": 0})
    prepare(experiment, place, folder)
    return _counted(experiment, place)


def has_many_rows(experiment: Experiment) -> bool:
    """Whether a user's data are large enough to fill a batch without counting rows."""
    source = _at_hand(experiment)
    return source is not None and sum(map(_size, source)) > MANY_ROWS


def _at_hand(experiment: Experiment) -> list[Path] | None:
    """The local sources of an experiment's data, including copies of what a task would load from the hub; None if some
    would have to be generated or downloaded."""
    if experiment.data in TASKS and not experiment.val_data:
        copy = experiment.data_options.get("source")
        return [Path(copy)] if copy else None
    sources = [Path(where.partition(":")[0] if ":" in where else where) for where in composed.places(experiment)]
    return sources if all(source.exists() for source in sources) else None


def _size(source: Path) -> int:
    files = [source] if source.is_file() else [file for file in source.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _counted(experiment: Experiment, files: DataFiles) -> DataFiles:
    n_test = _checked_rows(files.test, experiment)
    if experiment.data == experiment.val_data or _is_for_evaluation(experiment.data):
        return replace(files, train=files.test, n_train=0, n_test=n_test, generate=None)
    return replace(files, n_train=_checked_rows(files.train, experiment), n_test=n_test, generate=None)


def _is_for_evaluation(data: str) -> bool:
    return data in TASKS and bool(TASKS[data].only_for_evaluation)


def _prepare_answers(data: str, folder: Path, options: dict[str, Any]) -> None:
    from data_prep.preference import hub, local, toy

    if data == toy.DATA_SOURCE:
        toy.write_toy(folder, **options)
    elif data in TASKS:
        hub.write_task(data, folder, **options)
    else:
        local.write_local(Path(options["path"]), folder, **{name: v for name, v in options.items() if name != "path"})


def batch_size_of(experiment: Experiment) -> int:
    """Rows per step, for the experiment's kind of data."""
    return experiment.alignment.batch_size if experiment.data_kind == "answers" else experiment.batch_size


def _checked_rows(file: Path, experiment: Experiment) -> int:
    if not file.is_file():
        raise ExperimentError(
            f"--data {experiment.data}: {file} does not exist; a data folder contains train.parquet and test.parquet; "
            f"`python3 -m data_prep validate FILE --out FOLDER` makes one"
        )
    try:
        table = parquet.ParquetFile(file)
        if experiment.data not in TASKS:
            refuse_too_large(file)
    except TooLargeError as error:
        raise ExperimentError(str(error)) from None
    except (pa.ArrowException, OSError) as error:
        raise ExperimentError(f"--data {experiment.data}: {file} is not a readable parquet file ({error})") from None
    if experiment.data_kind == "answers":
        from data_prep.preference.schema import COLUMNS

        required = tuple(COLUMNS)
    else:
        required = (*REQUIRED_COLUMNS, *(("hint",) if reads_solutions(experiment.algorithm) else ()))
    missing = [name for name in required if name not in table.schema_arrow.names]
    if missing:
        raise ExperimentError(
            f"{file}: no column {missing[0]!r}; --algo {experiment.algo} needs {', '.join(required)} "
            f"(found: {', '.join(table.schema_arrow.names)}); `python3 -m data_prep validate train.parquet --test "
            f"test.parquet --out FOLDER` makes a folder with all of them"
        )
    return int(table.metadata.num_rows)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]
