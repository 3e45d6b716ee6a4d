"""--config FILE.yaml: flags from a file, under those of the command line. A run records what it was given, not what was
derived from model and machine, so that a laptop's file is right on an H100."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from recipes.experiment import ExperimentError, nearest
from recipes.modes import Steering
from recipes.run_dir import write_text
from recipes.settings import Setting, as_text, by_name, canonical, declared

GIVEN = "given.yaml"
"""In a run's folder: the flags it was started with."""

# How a run is started, and where; not what it is.
_STEERING = declared(Steering).keys() - {"profile"} | {"parallel"}


def record(folder: Path, flags: Mapping[str, Any]) -> None:
    """Write what a run was given into its folder."""
    kept = {name: value for name, value in flags.items() if value is not None and name not in _STEERING}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}
    write_text(folder / GIVEN, yaml.safe_dump(plain, sort_keys=True, allow_unicode=True))


def as_arguments(file: str, known: Mapping[str, Setting]) -> tuple[list[str], list[str]]:
    """(flags, overrides) of a configuration file, as they would stand on the command line.

    Args:
        file: YAML of flags by name; experiment.yaml of a run stands for what that run was given.
        known: all flags.

    Raises:
        ExperimentError: naming the file and the key.
    """
    path = Path(file)
    if path.name == "experiment.yaml":
        path = path.with_name(GIVEN)
        if Path(file).exists() and not path.exists():
            raise ExperimentError(f"--config {file}: its run did not record what it was given ({GIVEN} is missing)")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExperimentError(f"--config {file}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise ExperimentError(f"--config {path}: is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ExperimentError(f"--config {path}: must hold flags by name, such as 'algo: uft'")
    overrides = [str(each) for each in values.pop("overrides", None) or ()]
    arguments: list[str] = []
    names = by_name(known)
    for name, value in values.items():
        setting = names.get(canonical(str(name)))
        if setting is None or setting.name == "config":
            raise ExperimentError(f"--config {path}: {name}: no such flag{nearest(str(name), known)}")
        if setting.switch and value in (True, False):
            arguments += [f"--{setting.spelling}"] if value else []
        elif value is not None:
            arguments.append(f"--{setting.spelling}={as_text(value)}")
    return arguments, overrides


def algo_in(file: str) -> str | None:
    """The algorithm that a configuration file names, if it can be read."""
    path = Path(file)
    path = path.with_name(GIVEN) if path.name == "experiment.yaml" else path
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return None
    return values.get("algo") if isinstance(values, dict) else None
