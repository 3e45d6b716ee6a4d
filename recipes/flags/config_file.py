"""--config FILE.yaml: flags from a file, overridden by the command line. A run records the flags it was given, not the
values derived from model and machine, so that a laptop's file also works on an H100."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from recipes.common.errors import ExperimentError, nearest
from recipes.common.run_dir import write_text
from recipes.common.values import as_text
from recipes.settings.data_sets import absolute
from recipes.settings.declare import Setting, by_name, canonical, declared, from_plain
from recipes.settings.modes import Steering

GIVEN = "given.yaml"
"""File in a run's folder with the flags it was started with."""

# These say how and where a run starts, not what it is.
_PATHS = ("algo", "data_path", "model", "reward")
_STEERING = declared(Steering).keys() - {"profile"} | {"parallel"}


def record(folder: Path, flags: Mapping[str, Any]) -> None:
    """Write the flags a run was given to its folder."""
    kept = {name: value for name, value in flags.items() if value is not None and name not in _STEERING}
    plain = {name: list(value) if isinstance(value, tuple) else _absolute(name, value) for name, value in kept.items()}
    write_text(folder / GIVEN, yaml.safe_dump(plain, sort_keys=True, allow_unicode=True))


def _absolute(name: str, value: Any) -> Any:
    """The value with an absolute path, so that it means the same from another folder."""
    if name in ("data", "val_data"):
        return absolute(value)
    if name not in _PATHS:
        return value
    file, colon, function = value.rpartition(".py:")
    path = Path(f"{file}.py" if colon else value)
    own = path.exists() if name != "algo" else path.suffix == ".py"
    return str(path.resolve()) + (f":{function}" if colon else "") if own else value


_NUMBERS = {
    "int": r"[-+]?(0|[1-9][0-9]*)",
    "float": r"[-+]?(([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(inf|Inf|nan|NaN))",
}
"""Numbers as people write them; in YAML 1.1, 12:30 is 750, 010 is 8 and 1e-6 is a string."""


class PlainLoader(yaml.SafeLoader):
    """Refuses repeated keys, of which YAML's loader takes the last, and reads numbers as people write them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is not None and name in seen:
                raise yaml.constructor.ConstructorError(problem=f"{name} is given twice", problem_mark=key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag.rpartition(":")[2] not in (*_NUMBERS, "timestamp")]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _form in _NUMBERS.items():
    PlainLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"{_form}$"), list("-+.0123456789"))


def read_yaml(path: Path, flag: str) -> Any:
    """The contents of the YAML file that a flag names. Raises ExperimentError if it cannot be read."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), PlainLoader)
    except OSError as error:
        raise ExperimentError(f"--{flag} {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ExperimentError(f"--{flag} {path}: is not UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise ExperimentError(f"--{flag} {path}: is not valid YAML: {error.problem}{line}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ExperimentError(f"--{flag} {path}: is not valid YAML: {' '.join(str(error).split())}") from None


def read_flags(file: str) -> dict[str, Any]:
    """The flags in a configuration file by name; for a run's experiment.yaml or folder, those the run was given."""
    path = _given_of(file)
    if path != Path(file) and Path(file).exists() and not path.exists():
        raise ExperimentError(f"--config {file}: no run recorded its flags here ({GIVEN} is missing)")
    if path.name == GIVEN and Path(file).is_file() and Path(file).name != GIVEN:
        read_yaml(Path(file), "config")
        told = f"--config {file}: reading this run's flags from {path}; edit that file to change them"
        print(told, file=sys.stderr)
    values = read_yaml(path, "config")
    if not isinstance(values, dict):
        raise ExperimentError(f"--config {path}: must map flags to values, such as 'algo: uft'")
    if "schema" in values:
        raise ExperimentError(f"--config {path}: is a run's record; give its folder or the {GIVEN} in it")
    return values


def _given_of(file: str) -> Path:
    path = Path(file)
    if path.is_dir():
        return path / GIVEN
    return path.with_name(GIVEN) if path.name == "experiment.yaml" else path


def as_arguments(file: str, values: Mapping[str, Any], known: Mapping[str, Setting]) -> tuple[list[str], list[str]]:
    """(flags, overrides) of a configuration file, as they would be written on the command line.

    Args:
        values: the result of `read_flags`.
        known: all flags.

    Raises:
        ExperimentError: with the file and the key.
    """
    where = f"--config {_given_of(file)}"
    overrides = values.get("overrides", [])
    if not isinstance(overrides, list) or not all(isinstance(each, str) for each in overrides):
        raise ExperimentError(f"{where}: overrides: must be a list of strings, such as [trainer.balance_batch=False]")
    arguments: list[str] = []
    names, met = by_name(known), dict[str, str]()
    for name, value in values.items():
        if name == "overrides":
            continue
        setting = names.get(canonical(str(name)))
        if setting is not None and setting.name in ("config", "completion"):
            raise ExperimentError(f"{where}: {name}: only allowed on the command line, not in a file")
        if setting is None:
            raise ExperimentError(f"{where}: {name}: no such flag{nearest(str(name), known)}")
        if setting.name in met:
            raise ExperimentError(f"{where}: {name}: same flag as {met[setting.name]}, which is also given")
        met[setting.name] = str(name)
        try:
            found = from_plain(setting, value)
        except ValueError as error:
            raise ExperimentError(f"{where}: {name}: {error}") from None
        if setting.switch:
            arguments += [f"--{setting.spelling}"] if found else []
        elif found is not None:
            arguments.append(f"--{setting.spelling}={as_text(found)}")
    return arguments, overrides


def by_file(error: ExperimentError, file: str | None, from_file: Sequence[str]) -> ExperimentError:
    """The error, with a note if it concerns a value from the file, which the user did not type.

    Args:
        from_file: flags, and overrides as key=value, from the file.
    """
    said = str(error)
    keys = {each: re.escape(each.partition("=")[0]) for each in from_file}
    named = [each for each, key in keys.items() if re.search(rf"(--|')\+?{key}(?![\w.])", said)]
    if file is None or file in said or not named:
        return error
    return ExperimentError(f"{said} (--config {file} gives {', '.join(named)})")


def algorithms_in(values: Any) -> list[str]:
    """The algorithms named by a file's flags or by the stages of a pipeline file."""
    parts = values if isinstance(values, list) else [values]
    named = [part.get("algo") for part in parts if isinstance(part, dict)]
    return [each for each in named if isinstance(each, str)]
