"""Published numbers (eval/published.yaml), and those comparable with a run of ours.

Entry: UFT paper v1, figure of accuracy over steps, by eye +-0.005: Qwen2.5-0.5B, sft_rft on countdown, step 500: 0.520
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import yaml

FILE = Path(__file__).with_name("published.yaml")

Unit = Literal["share", "percent", "of_ten", "hours"]
Read = Literal["table", "figure", "relayed", "derived"]

_PARTS_OF_ONE = {"share": 1.0, "percent": 100.0}


@dataclass(frozen=True)
class Paper:
    """A source of numbers."""

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
    """How it differs from the paper's default; usually empty."""
    step: int | None
    value: float
    unit: Unit
    note: str
    settings: Mapping[str, Any] | None = field(default=None, hash=False)
    """The settings that make a run of ours comparable; None: unknown, so it is never shown with a run."""

    @property
    def share(self) -> float:
        """The value as a share of 1; KeyError for a unit that is not one."""
        return self.value / _PARTS_OF_ONE[self.unit]

    @property
    def share_error(self) -> float:
        """plus_minus as a share of 1."""
        return self.plus_minus / _PARTS_OF_ONE[self.unit]

    @property
    def source(self) -> str:
        """Where it was published and how it was read, in one line."""
        how = {
            "table": "",
            "figure": f", read by eye, ±{self.plus_minus:g}",
            "relayed": ", second-hand",
            "derived": f", derived, ±{self.plus_minus:g}",
        }[self.read]
        version = f" {self.version}" if self.version else ""
        page = f", page {self.page}" if self.page else ""
        return f"arXiv {self.paper.arxiv}{version}, {self.place}{page}{how}"


@cache
def published() -> tuple[Published, ...]:
    """All entries of eval/published.yaml."""
    return load(FILE)


def load(file: Path) -> tuple[Published, ...]:
    """The entries of a file of published numbers, which the tests check (tests/unit/eval/test_published.py)."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    papers = {name: Paper(**paper) for name, paper in content["papers"].items()}
    return tuple(
        entry
        for table in content["tables"]
        for row in table["rows"]
        for entry in _entries(table, row, papers[table["paper"]])
    )


def beside(settings: Mapping[str, Any]) -> list[Published]:
    """The accuracies published for the task, model, algorithm and setting of a run, final steps last.

    Args:
        settings: those in its experiment.yaml.
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
        # The path of a local copy of the data does not matter.
        return isinstance(ours, Mapping) and {k: v for k, v in ours.items() if k != "source"} == dict(theirs)
    return bool(ours == theirs)


def _entries(table: Mapping[str, Any], row: Mapping[str, Any], paper: Paper) -> Iterator[Published]:
    """The numbers of a row; cells that were not given (null) are skipped."""
    if "by_step" in row:
        cells = [(row["task"], step, value) for step, value in zip(table["steps"], row["by_step"], strict=True)]
    else:
        step = row["step"] if "step" in row else table["step"]
        cells = [(task, step, value) for task, value in zip(table["columns"], row["values"], strict=True)]
    for task, step, value in cells:
        if value is None:
            continue
        settings = row.get("settings")
        if settings is not None and task in table.get("data_options", {}):
            settings = {**settings, "data_options": table["data_options"][task]}
        yield Published(
            paper=paper,
            version=table.get("version"),
            place=table["place"],
            page=table.get("page"),
            read=table["read"],
            plus_minus=row.get("plus_minus", table.get("plus_minus", 0.0)),
            metric=table["metric"],
            task=task,
            trained_on=row.get("trained_on", table["trained_on"]),
            model=row["model"],
            algo=row["algo"],
            variant=row.get("variant", ""),
            step=step,
            value=value,
            unit=table["unit"],
            note=table.get("note", ""),
            settings=None if settings is None else MappingProxyType(settings),
        )
