"""Training and test files composed of several data sets: weighted mixtures, several validation sets, and data sets from
the hub, whose splits become both files."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data_prep import schema
from data_prep.faults import CustomDataError
from data_prep.files.columns import Columns
from data_prep.files.examined import refuse_faulty, split_rows
from data_prep.files.hub_set import HubSet, split_names
from data_prep.preference import local
from data_prep.preference import schema as preference
from data_prep.problems import prepare as custom
from data_prep.schema import IN_SET
from recipes.common.errors import ExperimentError
from recipes.settings.data_sets import hub_set, mixture, names_apart, set_name, sets_of, several
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import profile_named
from recipes.settings.tasks import TASKS
from reward_fns import RANDOM

TEST_SHARE = 0.1
"""Share of a user's single file that becomes the test file if none is given."""

_TESTS = ("test", "validation", "val", "dev", "eval")
"""Names of validation splits on the hub; the first that exists is used."""

Row = dict[str, Any]


def is_composed(experiment: Experiment) -> bool:
    """Whether its files are composed of other files."""
    return bool(experiment.val_data or mixture(experiment.data) or hub_set(experiment.data))


def validation_sets(experiment: Experiment) -> list[str]:
    """The data sets it validates on: --val_data, or the test part of --data."""
    return several(experiment.val_data, "val_data") if experiment.val_data else sets_of(experiment.data)


def places(experiment: Experiment) -> list[str]:
    """All data sets that it uses."""
    return list(dict.fromkeys([*sets_of(experiment.data), *validation_sets(experiment)]))


def options(experiment: Experiment) -> dict[str, Any]:
    """Everything its files depend on, for the name of their folder. Only mixtures depend on the seed."""
    weights = {each.where: each.weight for each in mixture(experiment.data)}
    return {
        "train": weights or experiment.data,
        "val": validation_sets(experiment),
        "labelled": bool(experiment.val_data),
        "seed": experiment.seed if weights else 0,
        "reward": _reward(experiment),
        "options": experiment.data_options,
        "contents": {where: _content(experiment, where) for where in places(experiment)},
    }


def part_of(experiment: Experiment, where: str) -> Experiment:
    """The experiment restricted to one of its data sets."""
    own = {} if where in TASKS else _reading(experiment)
    given = experiment.data_options if where == experiment.data else {}
    usual = profile_named(experiment.profile).data_options.get(where, {})
    return replace(experiment, data=where, val_data=None, data_options={**usual, **given, **own})


def _reading(experiment: Experiment) -> dict[str, Any]:
    return {name: experiment.data_options[name] for name in _READ if name in experiment.data_options}


_READ = ("columns", "score_min", "score_max")


def _reward(experiment: Experiment) -> str | None:
    # The random control leaves the rows unchanged.
    return None if experiment.reward == RANDOM else experiment.reward


def _content(experiment: Experiment, where: str) -> str:
    """Identifies the content of a data set; for hub data sets, whose rows are not local, the name."""
    place = Path(where)
    if where in TASKS or not place.exists():
        return json.dumps(part_of(experiment, where).data_options, sort_keys=True)
    digest = hashlib.sha256()
    for file in [place] if place.is_file() else sorted(file for file in place.rglob("*") if file.is_file()):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Composed:
    """The rows of both files. there: rows available in each data set of a mixture; drawn: rows taken from it."""

    train: list[Row]
    test: list[Row]
    there: Mapping[str, int]
    drawn: Mapping[str, int]


def compose(experiment: Experiment, prepared: Any) -> Composed:
    """The rows of the two files.

    Args:
        prepared: function from an experiment on a task or a prepared folder to its DataFiles.

    Raises:
        CustomDataError, SchemaError: if data cannot be read.
        ExperimentError: if two data sets share a name.
    """
    only_test = experiment.val_data == experiment.data
    trained = [] if only_test else sets_of(experiment.data)
    tests = validation_sets(experiment)
    names = names_apart([*tests, *(where for where in trained if where not in tests)], "data and --val_data")
    columns = {where: _columns_of(experiment, where) for where in names if where not in TASKS}
    _refuse_absent(experiment, columns)
    train: dict[str, list[Row]] = {}
    test: dict[str, list[Row]] = {}
    for where in names:
        role = "test" if where not in trained else "both" if where in tests else "train"
        train[where], test[where] = _rows(part_of(experiment, where), role, columns.get(where, {}), prepared)
    labels = {
        where: name for where, name in names.items() if where not in TASKS and (experiment.val_data or len(tests) > 1)
    }
    if experiment.data_kind == "answers":
        train, test = (
            {where: [_apart(row, names[where]) for row in rows] for where, rows in split.items()}
            for split in (train, test)
        )
    shown = [_labelled(row, labels.get(where)) for where in tests for row in test[where]]
    weights = {each.where: each.weight for each in mixture(experiment.data)}
    there = {where: len(_units(train[where])) for where in weights}
    counts = drawn(weights, there)
    rows = _mixed(train, counts, experiment.seed) if weights else train.get(experiment.data, [])
    return Composed(rows or shown, shown, there, counts)


def drawn(weights: Mapping[str, float], there: Mapping[str, int]) -> dict[str, int]:
    """Rows a mixture takes from each data set: as many as the weights allow without repeating one."""
    total = min((there[where] / weight for where, weight in weights.items()), default=0.0)
    # Guards against floating-point error below a whole number.
    return {where: max(1, int(total * weight + 1e-9)) for where, weight in weights.items()}


def _units(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that stay together: the answers of a group; otherwise single rows."""
    together: dict[Any, list[Row]] = {}
    for number, row in enumerate(rows):
        together.setdefault(row.get("group", number), []).append(row)
    return list(together.values())


def _mixed(train: Mapping[str, list[Row]], counts: Mapping[str, int], seed: int) -> list[Row]:
    """The rows drawn from each data set, shuffled, so that every stretch contains all of them."""
    found: list[tuple[bytes, list[Row]]] = []
    for where, count in counts.items():
        by_chance = sorted((_chance(seed, where, number), unit) for number, unit in enumerate(_units(train[where])))
        found += by_chance[:count]
    return [row for _, unit in sorted(found, key=lambda each: each[0][::-1]) for row in unit]


def _chance(seed: int, where: str, number: int) -> bytes:
    return hashlib.blake2b(f"{seed}|{Path(where).name}|{number}".encode(), digest_size=16).digest()


def _labelled(row: Row, name: str | None) -> Row:
    return row if name is None else {**row, "data_source": f"{row['data_source']}{IN_SET}{name}"}


def _apart(row: Row, name: str) -> Row:
    """Groups of answers are numbered per file: pair-3 of one is not pair-3 of another."""
    return {**row, "group": f"{name}/{row['group']}"}


def write(experiment: Experiment, folder: Path, prepared: Any) -> None:
    """Write folder/train.parquet and folder/test.parquet. Raises the errors of `compose`."""
    found = compose(experiment, prepared)
    for where, count in found.drawn.items():
        print(f"mixture of {set_name(where)}: {count} of {found.there[where]} training rows", flush=True)
    _write(experiment, folder, found)


def write_few(experiment: Experiment, folder: Path, few: Any) -> int:
    """`write` with a few rows of each generated task; returns how many training rows the full files will have."""
    found = compose(experiment, few)
    _write(experiment, folder, found)
    sizes = {
        each: part_of(experiment, each).data_options["n_train"] for each in sets_of(experiment.data) if each in TASKS
    }
    if found.drawn:
        weights = {each.where: each.weight for each in mixture(experiment.data)}
        return sum(drawn(weights, {**found.there, **sizes}).values())
    return sizes.get(experiment.data, len(found.train))


def _write(experiment: Experiment, folder: Path, found: Composed) -> None:
    for split, rows in (("test", found.test), ("train", found.train)):
        listed = schema.numbered(rows, split)
        if experiment.data_kind == "answers":
            preference.write_rows(folder / f"{split}.parquet", listed)
        else:
            schema.write_rows(folder / f"{split}.parquet", schema.packed(listed))


def _rows(part: Experiment, role: str, columns: Columns, prepared: Any) -> tuple[list[Row], list[Row]]:
    """(training rows, test rows) of one data set; role: "train" or "test" to use all of a file as such, or "both"."""
    hub = hub_set(part.data)
    if hub is None and not Path(part.data).is_file():
        files = prepared(part)
        read: Any = preference.read_rows if part.data_kind == "answers" else schema.read_rows
        return [] if role == "test" else read(files.train), [] if role == "train" else read(files.test)
    if hub is None:
        return _own(part, Path(part.data), role, columns)
    train, test = splits(hub, role)
    if train is None:
        return [], _own(part, test, "test", columns)[1]
    if test is None:
        return _own(part, train, role, columns)
    return _own(part, train, "train", columns)[0], _own(part, test, "test", columns)[1]


def splits(hub: HubSet, role: str) -> tuple[HubSet | None, HubSet | None]:
    """(training split, validation split); without the latter, part of the former is held out.

    Raises:
        CustomDataError: if the split does not exist.
    """
    if role == "test" and hub.split:
        return None, hub
    names = split_names(hub.name, hub.part)
    named = hub.split.partition("[")[0]
    if named and named not in names:
        raise CustomDataError(f"--data {hub}: no split {named}; choose from {', '.join(names)}")
    train = hub.split or ("train" if "train" in names else names[0])
    test = next((name for name in _TESTS if name in names and name != train.partition("[")[0]), None)
    of_test = None if test is None else replace(hub, split=test)
    if role == "test":
        return None, of_test or replace(hub, split=train)
    return replace(hub, split=train), None if role == "train" else of_test


def _own(part: Experiment, place: Any, role: str, columns: Columns) -> tuple[list[Row], list[Row]]:
    """(training rows, test rows) of a file or a split."""
    examined: Any
    if part.data_kind == "answers":
        scale = {name: part.data_options.get(name) for name in ("score_min", "score_max")}
        examined = local.examine(place, columns=columns, **scale)
    else:
        examined = custom.examine(place, _reward(part), columns)
    refuse_faulty(examined)
    if role != "both":
        return (examined.rows, []) if role == "train" else ([], examined.rows)
    # One split for all seeds: compared runs and their evaluations need the same test problems.
    found: tuple[list[Row], list[Row]] = split_rows(examined, 0, TEST_SHARE)
    return found


def _columns_of(experiment: Experiment, where: str) -> Columns:
    """--columns that this data set has; with a single data set all of them, which its reader checks."""
    given: Columns = experiment.data_options.get("columns", {})
    if not given or len(places(experiment)) == 1:
        return given
    there = local.columns_of(peeked(where))
    return {role: column for role, column in given.items() if column in there}


def _refuse_absent(experiment: Experiment, columns: Mapping[str, Columns]) -> None:
    for role, column in experiment.data_options.get("columns", {}).items():
        if columns and not any(column in of.values() for of in columns.values()):
            raise ExperimentError(f"--columns {role}={column}: no column {column} in any of {', '.join(columns)}")


def peeked(where: str) -> Any:
    """Where to read the columns of a data set from: a file or a hub split."""
    hub = hub_set(where)
    if hub is None:
        return Path(where, "train.parquet") if Path(where).is_dir() else Path(where)
    if hub.split:
        return hub
    train, test = splits(hub, "both")
    return train or test
