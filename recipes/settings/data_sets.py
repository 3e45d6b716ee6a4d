"""Values of --data and --val_data: one data set, or a weighted mixture of several."""

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
    """One data set of a mixture. where: a task, file, folder or Hub data set, as written."""

    where: str
    weight: float


def mixture(data: str) -> list[DataSet]:
    """The data sets of a mixture a:0.7,b:0.3, weights normalised to 1; empty if --data is not a mixture.

    Raises:
        ExperimentError: for a missing, zero or malformed weight, or a name that is given twice.
    """
    words = data.split(",")
    if len(words) < 2 or Path(data).exists():
        return []
    weighted = [_WEIGHT.fullmatch(word.strip()) for word in words]
    for word, weight in zip(words, weighted, strict=True):
        if weight is None and (odd := _MEANT_AS_WEIGHT.fullmatch(word.strip())) and not Path(word.strip()).exists():
            raise ExperimentError(f"--data {data}: {odd[1]} is not a weight; give a number above 0, like 0.7")
    found = [(each[1], float(each[2])) for each in weighted if each]
    if not found:
        return []
    if len(found) < len(words):
        bare = next(word for word, each in zip(words, weighted, strict=True) if each is None)
        raise ExperimentError(f"--data {data}: {bare!r} has no weight; a mixture needs one for each, a:0.7,b:0.3")
    total = sum(weight for _, weight in found)
    names = [where for where, _ in found]
    for name, share in found:
        if share == 0 or names.count(name) > 1:
            why = "is given twice" if share else "has weight 0; remove it"
            raise ExperimentError(f"--data {data}: {name} {why}")
    return [DataSet(where, weight / total) for where, weight in found]


def several(data: str, flag: str = "data", *, distinct: bool = True) -> list[str]:
    """Comma-separated data sets, each for its own run or evaluation; a mixture counts as one."""
    return [data] if mixture(data) else listed(data, flag, distinct=distinct)


def sets_of(data: str) -> list[str]:
    """The names of a mixture's data sets, or the single name."""
    return [each.where for each in mixture(data)] or [data]


def hub_set(where: str) -> HubSet | None:
    """The Hub data set, or local folder laid out like one, that `where` names; None for anything else.

    Its split is "" if not given.
    """
    if where in TASKS or Path(where).is_file():
        return None
    if Path(where).is_dir():
        return None if _is_prepared(Path(where)) else HubSet(str(Path(where).resolve()), None, "")
    named = _IN_FOLDER.fullmatch(where)
    if named and Path(named[1]).is_dir():
        return HubSet(str(Path(named[1]).resolve()), None, named[2])
    found = _HUB.fullmatch(where)
    # A path into an existing folder, or with a file's suffix, was meant as a local file.
    if found is None or where.startswith(".") or where.endswith(_FILE) or Path(where.partition("/")[0]).is_dir():
        return None
    return HubSet(found[1], found[2], found[3] or "")


def folder_source(where: str) -> str | None:
    """The data_source of a prepared folder's first row (a task, or custom); None for anything else."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        first = next(parquet.ParquetFile(Path(where) / "train.parquet").iter_batches(1, columns=["data_source"]), None)
    except (pa.ArrowException, OSError):
        return None
    return str(first["data_source"][0]) if first and "data_source" in first.schema.names else None


def _is_prepared(folder: Path) -> bool:
    """Whether a folder holds train.parquet or test.parquet in our format, or no readable data files."""
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
    """Raise ExperimentError for a name that is not a task, file, folder or Hub data set; it lists the known tasks."""
    alone = _MEANT_AS_WEIGHT.fullmatch(data) and not Path(data).exists() and "," not in data
    if flag == "val_data" and (mixture(data) or alone):
        names = data.rpartition(":")[0] if alone else ",".join(sets_of(data))
        raise ExperimentError(f"--val_data {data}: validation uses all of each data set; remove the weights: {names}")
    for where in sets_of(data):
        if where in TASKS or Path(where).exists() or hub_set(where) is not None:
            continue
        if _MEANT_AS_WEIGHT.fullmatch(where):
            bare = where.rpartition(":")[0]
            raise ExperimentError(f"--{flag} {data}: a single data set takes no weight; use --{flag} {bare}")
        if "," in where:
            raise ExperimentError(
                f"--{flag} {data}: names several data sets; --data a:0.7,b:0.3 mixes them by weight, --sweep trains "
                f"on each, --val_data a,b validates on each"
            )
        raise ExperimentError(
            f"--{flag} {data}: {'' if where == data else f'{where}: '}neither a task nor a file or folder"
            f"{nearest(where, TASKS)} Tasks: {', '.join(TASKS)}; a folder must hold train.parquet and test.parquet, a "
            f"file must hold problems (docs/custom_data.md)."
        )


def absolute(data: str) -> str:
    """--data or --val_data with absolute paths, valid from any working directory."""
    return ",".join(_absolute(word) for word in data.split(","))


def _absolute(word: str) -> str:
    # The longest prefix that exists; a split or weight follows it.
    ends = [len(word), *(at for at in range(len(word) - 1, 0, -1) if word[at] == ":")]
    end = next((end for end in ends if word not in TASKS and Path(word[:end]).exists()), None)
    return word if end is None or word[:end] in TASKS else str(Path(word[:end]).resolve()) + word[end:]


def data_title(data: str) -> str:
    """A short name for folders and output; a mixture's names are joined by +."""
    found = [(where, hub_set(where)) for where in sets_of(data)]
    return "+".join(Path(where if hub is None else hub.name).name for where, hub in found)


def set_name(where: str) -> str:
    """A data set's name in metrics and folders: a task's, a file's without its suffix, a folder's."""
    found = hub_set(where)
    if found is not None:
        return Path(found.name).name
    return where if where in TASKS else Path(where).stem if Path(where).is_file() else Path(where).resolve().name


def names_apart(wheres: Iterable[str], flag: str) -> dict[str, str]:
    """{data set: its name}. ExperimentError if two data sets have the same name."""
    found: dict[str, str] = {}
    for where in wheres:
        name = set_name(where)
        if name in found.values():
            raise ExperimentError(f"--{flag}: two data sets are called {name}; metrics go by name, so rename one")
        found[where] = name
    return found
