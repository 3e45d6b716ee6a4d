"""--config FILE.yaml: flags from a file, under those of the command line. A run records what it was given, not what was
derived from model and machine, so that a laptop's file is right on an H100."""

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
"""In a run's folder: the flags it was started with."""

# How a run is started, and where; not what it is.
_PATHS = ("algo", "data_path", "model", "reward")
_STEERING = declared(Steering).keys() - {"profile"} | {"parallel"}


def record(folder: Path, flags: Mapping[str, Any]) -> None:
    """Write what a run was given into its folder."""
    kept = {name: value for name, value in flags.items() if value is not None and name not in _STEERING}
    plain = {name: list(value) if isinstance(value, tuple) else _absolute(name, value) for name, value in kept.items()}
    write_text(folder / GIVEN, yaml.safe_dump(plain, sort_keys=True, allow_unicode=True))


def _absolute(name: str, value: Any) -> Any:
    """A value that names something in a folder by its full path, so that it means the same from another one."""
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
"""Numbers as people write them: of YAML 1.1, 12:30 is 750, 010 is 8, and 1e-6 a text."""


class PlainLoader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML's own loader takes the last; takes for numbers what looks so."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is not None and name in seen:
                raise yaml.constructor.ConstructorError(problem=f"{name} stands twice", problem_mark=key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag.rpartition(":")[2] not in (*_NUMBERS, "timestamp")]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _form in _NUMBERS.items():
    PlainLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"{_form}$"), list("-+.0123456789"))


def read_yaml(path: Path, flag: str) -> Any:
    """What a YAML file that a flag names holds. Raises ExperimentError for one that cannot be read."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), PlainLoader)
    except OSError as error:
        raise ExperimentError(f"--{flag} {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ExperimentError(f"--{flag} {path}: is no text in UTF-8") from None
    except yaml.MarkedYAMLError as error:
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise ExperimentError(f"--{flag} {path}: is no YAML: {error.problem}{line}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ExperimentError(f"--{flag} {path}: is no YAML: {' '.join(str(error).split())}") from None


def read_flags(file: str) -> dict[str, Any]:
    """The flags in a configuration file by name; a run's experiment.yaml, or folder, stands for what it was given."""
    path = _given_of(file)
    if path != Path(file) and Path(file).exists() and not path.exists():
        raise ExperimentError(f"--config {file}: no run recorded here what it was given ({GIVEN} is missing)")
    if path.name == GIVEN and Path(file).is_file() and Path(file).name != GIVEN:
        read_yaml(Path(file), "config")
        told = f"--config {file}: what this run was given is in {path}, which is read; what you change there counts"
        print(told, file=sys.stderr)
    values = read_yaml(path, "config")
    if not isinstance(values, dict):
        raise ExperimentError(f"--config {path}: must hold flags by name, such as 'algo: uft'")
    if "schema" in values:
        raise ExperimentError(f"--config {path}: is a run's record; name its folder, or the {GIVEN} in it")
    return values


def _given_of(file: str) -> Path:
    path = Path(file)
    if path.is_dir():  # a run's
        return path / GIVEN
    return path.with_name(GIVEN) if path.name == "experiment.yaml" else path


def as_arguments(file: str, values: Mapping[str, Any], known: Mapping[str, Setting]) -> tuple[list[str], list[str]]:
    """(flags, overrides) of a configuration file, as they would stand on the command line.

    Args:
        values: what `read_flags` found in the file.
        known: all flags.

    Raises:
        ExperimentError: naming the file and the key.
    """
    where = f"--config {_given_of(file)}"
    overrides = values.get("overrides", [])
    if not isinstance(overrides, list) or not all(isinstance(each, str) for each in overrides):
        raise ExperimentError(f"{where}: overrides: must be a list of texts, such as [trainer.balance_batch=False]")
    arguments: list[str] = []
    names, met = by_name(known), dict[str, str]()
    for name, value in values.items():
        if name == "overrides":
            continue
        setting = names.get(canonical(str(name)))
        if setting is not None and setting.name in ("config", "completion"):
            raise ExperimentError(f"{where}: {name}: belongs to the command line, not into a file")
        if setting is None:
            raise ExperimentError(f"{where}: {name}: no such flag{nearest(str(name), known)}")
        if setting.name in met:
            raise ExperimentError(f"{where}: {name}: the same as {met[setting.name]}, which stands there too")
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
    """The error, which says so where it is about what the file gives: whoever typed none of it looks for it there.

    Args:
        from_file: flags, and overrides as key=value, that the file gave.
    """
    said = str(error)
    keys = {each: re.escape(each.partition("=")[0]) for each in from_file}
    named = [each for each, key in keys.items() if re.search(rf"(--|')\+?{key}(?![\w.])", said)]
    if file is None or file in said or not named:
        return error
    return ExperimentError(f"{said} (--config {file} gives {', '.join(named)})")


def algorithms_in(values: Any) -> list[str]:
    """The algorithms that the flags of a file name, or the stages of a pipeline's."""
    parts = values if isinstance(values, list) else [values]
    named = [part.get("algo") for part in parts if isinstance(part, dict)]
    return [each for each in named if isinstance(each, str)]
