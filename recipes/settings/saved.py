"""experiment.yaml: an Experiment written and read, also by older versions."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import yaml

from recipes.common.errors import ExperimentError
from recipes.common.training_record import TrainingRecord
from recipes.settings.alignment import Alignment
from recipes.settings.declare import ABSENT, declared
from recipes.settings.experiment import Experiment
from recipes.settings.tasks import TASKS

SCHEMA = 2
"""Version of experiment.yaml; 1 did not record one. A new setting states with `absent` what its absence means."""


def to_yaml(experiment: Experiment) -> str:
    """The experiment as YAML, in field order."""
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(experiment).items()}
    return yaml.safe_dump({"schema": SCHEMA, **values}, sort_keys=False, allow_unicode=True)


def from_yaml(text: str) -> Experiment:
    """The experiment saved by `to_yaml` of this version or an older one.

    Raises:
        ExperimentError: for a file of a newer version or with other keys.
    """
    try:
        values = yaml.safe_load(text)
    # The others than yaml's own: !!int '' and its kin, and numbers and depths that Python cannot hold.
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        values = None
    if not isinstance(values, dict) or not isinstance(values.get("alignment", {}), dict):
        raise ExperimentError("experiment.yaml is damaged: it contains no settings; start again with another --out")
    for name, hint in {"schema": int, **typing.get_type_hints(Experiment)}.items():
        if name in values and not _fits(values[name], hint):
            what = "not a number" if hint in (int, float) else "not a valid value"
            raise ExperimentError(f"experiment.yaml is damaged: {name} {values[name]!r} is {what}")
    if values.get("schema", 1) > SCHEMA:
        raise ExperimentError("experiment.yaml was written by a newer version of this repository; use that version")
    values = as_of_today(values)
    odd = values.keys() ^ declared(Experiment).keys() or values["alignment"].keys() ^ declared(Alignment).keys()
    if odd:
        raise ExperimentError(
            f"experiment.yaml is damaged, or was written by another version of this repository (differs in: "
            f"{', '.join(sorted(map(str, odd)))})"
        )
    restored: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    restored["alignment"] = Alignment(**values["alignment"])
    return Experiment(**restored)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a YAML value is valid for a field of that type."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if typing.get_origin(hint) is Literal:
        return value in kinds or value in typing.get_args(hint)
    found = tuple(dict if dataclasses.is_dataclass(each) else typing.get_origin(each) or each for each in kinds)
    found += (int,) if float in found else ()
    found += (list,) if tuple in found else ()
    return isinstance(value, found) and (bool in found or not isinstance(value, bool))


def read_experiment(file: Path) -> Experiment:
    """`from_yaml` of a file."""
    return from_yaml(file.read_text(encoding="utf-8", errors="replace"))


def as_of_today(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an experiment.yaml, plus those that older versions did not write."""
    found = {**_absent(Experiment), **values}
    found.pop("schema", None)
    if isinstance(found.get("alignment"), dict):
        found["alignment"] = {**_absent(Alignment), **found["alignment"]}
    return found


def _absent(cls: type) -> dict[str, Any]:
    return {name: each.absent for name, each in declared(cls).items() if each.absent is not ABSENT}


def training_record(experiment: Experiment) -> TrainingRecord:
    """The record published with the weights."""
    e = experiment
    return TrainingRecord(
        algo=e.algo,
        data=str(Path(e.data).resolve()) if e.data not in TASKS and Path(e.data).exists() else e.data,
        base_model=e.model,
        prompt_style=e.prompt_style,
        max_prompt_length=e.max_prompt_length,
        max_response_length=e.max_response_length,
    )
