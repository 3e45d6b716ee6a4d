"""Data sets named by --data and --val_data: one, or several with weights that form a mixture."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from data_prep.files.hub_set import HubSet
from recipes.common.errors import ExperimentError, nearest
from recipes.common.listed import listed
from recipes.settings.tasks import TASKS

_WEIGHT = re.compile(r"(.+):(\d+(?:\.\d*)?|\.\d+)")
_MEANT_AS_WEIGHT = re.compile(r".+:\s*(-?[\d.,]+(?:[eE]-?\d+)?\s*%?|nan|-?inf)")
_FILE = (".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".gz")
_HUB = re.compile(r"([\w.-]+/[\w.-]+)(?:/([\w.-]+))?(?::([A-Za-z_][\w.-]*(?:\[[^\]]*\])?))?")
_IN_FOLDER = re.compile(r"(.+):([A-Za-z_][\w.-]*(?:\[[^\]]*\])?)")


@dataclass(frozen=True)
class DataSet:
    """One data set of a mixture. where: a task, file, folder or hub data set, as the user wrote it."""

    where: str
    weight: float


def mixture(data: str) -> list[DataSet]:
    """The data sets of a mixture a:0.7,b:0.3, with weights normalised to 1; empty if --data is not a mixture.

    Raises:
        ExperimentError: if a name has no weight, weight 0 or is repeated.
    """
    words = data.split(",")
    if len(words) < 2 or Path(data).exists():
        return []
    weighted = [_WEIGHT.fullmatch(word.strip()) for word in words]
    for word, weight in zip(words, weighted, strict=True):
        if weight is None and (odd := _MEANT_AS_WEIGHT.fullmatch(word.strip())) and not Path(word.strip()).exists():
            raise ExperimentError(f"--data {data}: {odd[1]} is not a weight; give a number above 0, such as 0.7")
    found = [(each[1], float(each[2])) for each in weighted if each]
    if not found:
        return []
    if len(found) < len(words):
        bare = next(word for word, each in zip(words, weighted, strict=True) if each is None)
        raise ExperimentError(f"--data {data}: {bare!r} has no weight; in a mixture all have one, as in a:0.7,b:0.3")
    total = sum(weight for _, weight in found)
    names = [where for where, _ in found]
    for name, share in found:
        if share == 0 or names.count(name) > 1:
            why = "is given twice" if share else "has weight 0; remove it"
            raise ExperimentError(f"--data {data}: {name} {why}")
    return [DataSet(where, weight / total) for where, weight in found]


def several(data: str, flag: str = "data", *, distinct: bool = True) -> list[str]:
    """Comma-separated data sets for one run or evaluation each; a mixture counts as one."""
    return [data] if mixture(data) else listed(data, flag, distinct=distinct)


def sets_of(data: str) -> list[str]:
    """The data sets of a mixture, or the single name."""
    return [each.where for each in mixture(data)] or [data]


def hub_set(where: str) -> HubSet | None:
    """The hub data set, or folder laid out like one, that a name refers to; otherwise None.

    Its split is "" if none is named.
    """
    if where in TASKS or Path(where).is_file():
        return None
    if Path(where).is_dir():
        return None if _is_prepared(Path(where)) else HubSet(str(Path(where).resolve()), None, "")
    named = _IN_FOLDER.fullmatch(where)
    if named and Path(named[1]).is_dir():
        return HubSet(str(Path(named[1]).resolve()), None, named[2])
    found = _HUB.fullmatch(where)
    # A name that starts with an existing folder or ends like a file was meant as a local path.
    if found is None or where.startswith(".") or where.endswith(_FILE) or Path(where.partition("/")[0]).is_dir():
        return None
    return HubSet(found[1], found[2], found[3] or "")


def folder_source(where: str) -> str | None:
    """The data_source in the first row of a prepared folder (a task, or custom); otherwise None."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        first = next(parquet.ParquetFile(Path(where) / "train.parquet").iter_batches(1, columns=["data_source"]), None)
    except (pa.ArrowException, OSError):
        return None
    return str(first["data_source"][0]) if first and "data_source" in first.schema.names else None


def _is_prepared(folder: Path) -> bool:
    """Whether a folder holds train.parquet or test.parquet in our format, or nothing readable."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    files = [folder / f"{split}.parquet" for split in ("train", "test")]
    for file in files:
        try:
            if file.is_file() and {"data_source", "extra_info", "reward_model"} & set(parquet.read_schema(file).names):
                return True
        except (pa.ArrowException, OSError):
            return True
    kinds = (".parquet", ".jsonl", ".json", ".csv")
    return not any(file.suffix in kinds for file in folder.rglob("*"))


def refuse_unknown(data: str, flag: str) -> None:
    """Refuse a name that is not a task, file, folder or hub data set.

    Raises:
        ExperimentError: lists the tasks.
    """
    alone = _MEANT_AS_WEIGHT.fullmatch(data) and not Path(data).exists() and "," not in data
    if flag == "val_data" and (mixture(data) or alone):
        names = data.rpartition(":")[0] if alone else ",".join(sets_of(data))
        raise ExperimentError(f"--val_data {data}: validation uses each data set in full; remove the weights: {names}")
    for where in sets_of(data):
        if where in TASKS or Path(where).exists() or hub_set(where) is not None:
            continue
        if _MEANT_AS_WEIGHT.fullmatch(where):
            bare = where.rpartition(":")[0]
            raise ExperimentError(
                f"--{flag} {data}: weights are for mixtures; for a single data set give --{flag} {bare}"
            )
        if "," in where:
            raise ExperimentError(
                f"--{flag} {data}: names several data sets; mix them with --data a:0.7,b:0.3, train on each with "
                f"--sweep, or validate on each with --val_data a,b"
            )
        raise ExperimentError(
            f"--{flag} {data}: {'' if where == data else f'{where}: '}not a task, file or folder"
            f"{nearest(where, TASKS)} Tasks: {', '.join(TASKS)}; a folder must hold train.parquet and test.parquet, a "
            f"file must hold problems (docs/custom_data.md)."
        )


def absolute(data: str) -> str:
    """--data or --val_data with absolute paths, so that it means the same from another folder."""
    return ",".join(_absolute(word) for word in data.split(","))


def _absolute(word: str) -> str:
    # The longest existing path; a split or weight may follow.
    ends = [len(word), *(at for at in range(len(word) - 1, 0, -1) if word[at] == ":")]
    end = next((end for end in ends if word not in TASKS and Path(word[:end]).exists()), None)
    return word if end is None or word[:end] in TASKS else str(Path(word[:end]).resolve()) + word[end:]


def data_title(data: str) -> str:
    """A short name for folders and messages; a mixture's names are joined by +."""
    found = [(where, hub_set(where)) for where in sets_of(data)]
    return "+".join(Path(where if hub is None else hub.name).name for where, hub in found)


def set_name(where: str) -> str:
    """A data set's name in metrics and folders: the task, the file's stem or the folder."""
    found = hub_set(where)
    if found is not None:
        return Path(found.name).name
    return where if where in TASKS else Path(where).stem if Path(where).is_file() else Path(where).resolve().name


def names_apart(wheres: Iterable[str], flag: str) -> dict[str, str]:
    """{data set: its name}. Raises ExperimentError if two names are the same."""
    found: dict[str, str] = {}
    for where in wheres:
        name = set_name(where)
        if name in found.values():
            raise ExperimentError(f"--{flag}: two data sets are named {name}; rename one, because metrics use the name")
        found[where] = name
    return found
