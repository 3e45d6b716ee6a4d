"""Published numbers (eval/published.yaml), checked when they are read, and those that belong beside a run of ours.

Entry: UFT paper v1, figure of accuracy over steps, by eye +-0.005: Qwen2.5-0.5B, sft_rft on countdown, step 500: 0.520
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import yaml

FILE = Path(__file__).with_name("published.yaml")

Unit = Literal["share", "percent", "of_ten", "hours"]
Read = Literal["table", "figure", "relayed", "derived"]

_HIGHEST = {"share": 1.0, "percent": 100.0, "of_ten": 10.0, "hours": 10_000.0}
_INEXACT = ("figure", "derived")
_TABLE_KEYS = {
    *("paper", "version", "place", "page", "read", "plus_minus", "metric", "unit", "trained_on", "step", "steps"),
    *("data_options", "note", "columns", "rows"),
}
_ROW_KEYS = {
    *("task", "model", "algo", "variant", "values", "by_step", "settings", "step", "plus_minus", "trained_on"),
}


class PublishedError(ValueError):
    """A malformed entry; says which table and row, and what is wrong."""


@dataclass(frozen=True)
class Paper:
    """Where numbers come from."""

    title: str
    arxiv: str
    authors: str | None = None


@dataclass(frozen=True)
class Published:
    """One published number."""

    paper: Paper
    version: str | None
    place: str
    """Table, figure or file."""
    page: int | None
    read: Read
    plus_minus: float
    """Reading error in the unit of the value; 0 for what was printed."""
    metric: str
    task: str
    """What was evaluated."""
    trained_on: str
    model: str
    algo: str
    variant: str
    """What sets it apart from the paper's own default; usually nothing."""
    step: int | None
    value: float
    unit: Unit
    note: str
    settings: Mapping[str, Any] | None = field(default=None, hash=False)
    """Settings a run of ours must have to be the same; None: nobody can say, and it is shown beside none."""

    @property
    def share(self) -> float:
        """The value as a share of 1, for units that are one."""
        if self.unit not in ("share", "percent"):
            raise PublishedError(f"{self.task} of {self.model}: {self.unit} is no share")
        return self.value / _HIGHEST[self.unit]

    @property
    def share_error(self) -> float:
        """plus_minus as a share of 1."""
        return self.plus_minus / _HIGHEST[self.unit]

    @property
    def source(self) -> str:
        """Where it is to be found, and how it was read, in a line."""
        how = {
            "table": "",
            "figure": f", read by eye, ±{self.plus_minus:g}",
            "relayed": ", second-hand",
            "derived": f", derived, ±{self.plus_minus:g}",
        }[self.read]
        version = f" {self.version}" if self.version else ""
        page = f", page {self.page}" if self.page else ""
        return f"arXiv {self.paper.arxiv}{version}, {self.place}{page}{how}"

    @property
    def identity(self) -> tuple[object, ...]:
        """Two entries with the same one would be duplicates."""
        source = (self.paper.arxiv, self.version, self.place)
        return (*source, self.metric, self.task, self.trained_on, self.model, self.algo, self.variant, self.step)


@cache
def published() -> tuple[Published, ...]:
    """All entries of eval/published.yaml."""
    return load(FILE)


def load(file: Path) -> tuple[Published, ...]:
    """Read and check a file of published numbers.

    Raises:
        PublishedError: naming the table and row, for a missing source, a value out of range or a duplicate.
    """
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    papers = {name: Paper(**paper) for name, paper in content["papers"].items()}
    entries: list[Published] = []
    for number, table in enumerate(content["tables"], start=1):
        entries += _table(table, papers, f"{file.name}, table {number} ({table.get('paper')}, {table.get('place')})")
    seen: dict[tuple[object, ...], Published] = {}
    for entry in entries:
        if entry.identity in seen:
            raise PublishedError(f"{file.name}: two entries for {entry.identity}")
        seen[entry.identity] = entry
    return tuple(entries)


def beside(settings: Mapping[str, Any]) -> list[Published]:
    """The accuracies published for the task, model and algorithm of a run, in its setting, final steps last.

    `settings` are those of its experiment.yaml. An empty list: nothing was, or not in this setting.
    """
    task, model = settings.get("data"), Path(str(settings.get("model"))).name
    found = [
        entry
        for entry in published()
        if (entry.task, entry.model, entry.algo) == (task, model, settings.get("algo"))
        and entry.trained_on in ("same", task)
        and entry.metric == "accuracy"
        and entry.settings is not None
        and all(_equal(settings.get(name), value) for name, value in entry.settings.items())
    ]
    return sorted(found, key=lambda entry: entry.step or 0)


def _equal(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, Mapping):
        # Where a local copy of the data lies does not change it.
        return isinstance(ours, Mapping) and {k: v for k, v in ours.items() if k != "source"} == dict(theirs)
    return bool(ours == theirs)


def _table(table: Mapping[str, Any], papers: Mapping[str, Paper], where: str) -> list[Published]:
    _known(table, _TABLE_KEYS, where)
    if table.get("paper") not in papers:
        raise PublishedError(f"{where}: paper must be one of {', '.join(papers)}")
    for key in ("place", "metric", "unit", "read", "trained_on"):
        if not table.get(key):
            raise PublishedError(f"{where}: {key} is missing")
    entries = []
    for number, row in enumerate(table["rows"], start=1):
        here = f"{where}, row {number}"
        _known(row, _ROW_KEYS, here)
        if "by_step" in row:
            cells = [(row["task"], step, value) for step, value in _pairs(table["steps"], row["by_step"], here)]
        else:
            step = row["step"] if "step" in row else table["step"]
            cells = [(task, step, value) for task, value in _pairs(table["columns"], row["values"], here)]
        entries += [_entry(table, row, papers, *cell, here) for cell in cells if cell[2] is not None]
    return entries


def _entry(
    table: Mapping[str, Any],
    row: Mapping[str, Any],
    papers: Mapping[str, Paper],
    task: str,
    step: int | None,
    value: float,
    where: str,
) -> Published:
    unit, read = table["unit"], table["read"]
    plus_minus = row.get("plus_minus", table.get("plus_minus", 0.0))
    if unit not in _HIGHEST or read not in ("table", "relayed", *_INEXACT):
        raise PublishedError(f"{where}: unknown unit {unit!r} or reading {read!r}")
    if not 0 <= value <= _HIGHEST[unit]:
        raise PublishedError(f"{where}: {value} is not within 0 and {_HIGHEST[unit]:g} ({unit})")
    if (plus_minus > 0) != (read in _INEXACT):
        raise PublishedError(f"{where}: a number read as {read!r} cannot have a reading error of {plus_minus}")
    settings = row.get("settings")
    if settings is not None and task in table.get("data_options", {}):
        settings = {**settings, "data_options": table["data_options"][task]}
    return Published(
        paper=papers[table["paper"]],
        version=table.get("version"),
        place=table["place"],
        page=table.get("page"),
        read=read,
        plus_minus=plus_minus,
        metric=table["metric"],
        task=task,
        trained_on=row.get("trained_on", table["trained_on"]),
        model=row["model"],
        algo=row["algo"],
        variant=row.get("variant", ""),
        step=step,
        value=value,
        unit=unit,
        note=table.get("note", ""),
        settings=None if settings is None else MappingProxyType(settings),
    )


def _known(given: Mapping[str, Any], keys: set[str], where: str) -> None:
    if odd := set(given) - keys:
        raise PublishedError(f"{where}: unknown key {', '.join(sorted(odd))}")


def _pairs(names: list[Any], values: list[Any], where: str) -> list[tuple[Any, Any]]:
    if len(names) != len(values):
        raise PublishedError(f"{where}: {len(values)} values for {len(names)} columns")
    return list(zip(names, values, strict=True))
