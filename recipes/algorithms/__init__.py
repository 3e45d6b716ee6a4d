"""The algorithms of --algo: the files of this folder, each defining ALGORITHM, and user-supplied files."""

import difflib
import hashlib
import importlib
import importlib.util
import pkgutil
import re
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from functools import cache, wraps
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

from recipes.algorithms import base
from recipes.algorithms.base import Algorithm, Shape
from recipes.common.time_limit import OutOfTimeError, time_limit

__all__ = [
    "HOOKS",
    "Algorithm",
    "AlgorithmFileError",
    "OutOfTimeError",
    "algorithms",
    "find_shape",
    "get_algorithm",
    "in_one_line",
    "name_of_shape",
    "time_limit",
]


HOOKS = {
    "rollout": ("at", "s", "rng"),
    "context": ("i", "group", "s"),
    "weigh": ("group", "s"),
    "remember": ("group", "past", "common", "s"),
    "loss": ("log_probs", "rows", "s"),
    "metrics": ("step", "s"),
    "memory_metrics": ("past", "common", "s"),
}
"""Arguments of each hook."""

MOST_CHARACTERS = 400
"""Quoted errors are cut to this length."""


class AlgorithmFileError(ValueError):
    """A file given to --algo defines no algorithm, or one of its hooks failed; the message is one line."""


@cache
def algorithms() -> dict[str, Algorithm]:
    """The algorithms of this folder by name, in alphabetical order of their files."""
    found = {}
    for module_info in pkgutil.iter_modules(__path__):
        if module_info.ispkg or module_info.name == "base":  # hints, losses and the contract
            continue
        algorithm: Algorithm = importlib.import_module(f"{__name__}.{module_info.name}").ALGORITHM
        found[algorithm.name] = algorithm
    return found


def get_algorithm(name: str) -> Algorithm:
    """The algorithm with this name or alias, or defined in this file (path/mine.py).

    Raises:
        KeyError: unknown name.
        AlgorithmFileError: the file cannot be loaded or defines no algorithm.
    """
    if name.endswith(".py"):
        module = _load(name)
        found = getattr(module, "ALGORITHM", None)
        if not isinstance(found, Algorithm):
            raise AlgorithmFileError(f"{name}: {_missing_algorithm(module)}; write ALGORITHM = Algorithm(...)")
        return found
    for algorithm in algorithms().values():
        if name in (algorithm.name, *algorithm.aliases):
            return algorithm
    raise KeyError(name)


def _missing_algorithm(module: ModuleType) -> str:
    """What a file defines instead of ALGORITHM."""
    others = [name for name, value in vars(module).items() if isinstance(value, Algorithm)]
    if others:
        return f"defines no ALGORITHM, but the algorithm {others[0]}"
    if hasattr(module, "ALGORITHM"):
        value = module.ALGORITHM
        return f"its ALGORITHM is {'a class' if isinstance(value, type) else 'of type ' + type(value).__name__}"
    return "defines no ALGORITHM (recipes.algorithms.base.Algorithm)"


def _load(file: str) -> ModuleType:
    """A user's file as a module, under a name that is unique to the file and the same in every process of a run."""
    path = Path(file).resolve()
    name = f"uft_algorithm_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    if not path.is_file():
        raise AlgorithmFileError(f"{file}: {'is a folder' if path.is_dir() else 'no such file'}")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if re.search(r"\btorch\b", path.read_text(encoding="utf-8", errors="replace")):
        with suppress(ImportError):  # loading the file raises it again
            importlib.import_module("torch")  # outside the time limit: takes a minute on a cold disk
    try:
        with time_limit():
            spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        del sys.modules[name]
        beside = isinstance(error, ModuleNotFoundError) and path.with_name(f"{error.name}.py").is_file()
        advice = "; its folder is not on the import path: merge the two files, or add it to PYTHONPATH" * beside
        raise AlgorithmFileError(f"{_place(error, path)}: cannot be loaded: {in_one_line(error)}{advice}") from error
    found = getattr(module, "ALGORITHM", None)
    if isinstance(found, Algorithm):
        module.ALGORITHM = _with_named_errors(found, path)  # type: ignore[attr-defined]
    return module


def _with_named_errors(algorithm: Algorithm, path: Path) -> Algorithm:
    """The algorithm, with each hook's errors replaced by one line that names file, line and hook: a worker's traceback
    ends in the framework's files."""

    def wrapped(name: str, hook: Callable[..., Any]) -> Any:
        @wraps(hook)
        def call(*arguments: Any) -> Any:
            try:
                return hook(*arguments)
            except (Exception, SystemExit, OutOfTimeError) as error:
                message = f"{_place(error, path)}: {name}: {in_one_line(error)}{_none_field(error, path, arguments)}"
                raise AlgorithmFileError(message) from error

        return call

    # Default hooks stay unwrapped: other code recognises them by identity.
    defaults = {each.name: each.default for each in fields(Algorithm)}
    own: dict[str, Any] = {name: getattr(algorithm, name) for name in HOOKS}
    own = {name: hook for name, hook in own.items() if callable(hook) and hook is not defaults[name]}
    return replace(algorithm, **{name: wrapped(name, hook) for name, hook in own.items()})


def _place(error: BaseException, path: Path) -> str:
    """The user's file, and the line the error comes from, if known."""
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == str(path)]
    if isinstance(error, SyntaxError) and error.filename == str(path) and error.lineno:
        lines.append(error.lineno)
    return f"{path}, line {lines[-1]}" if lines else str(path)


_OPTIONAL = {
    "ref": "without a reference model; write needs=frozenset({'reference'}), or set --kl_coef",
    "rescored": "without a context; give the algorithm one",
}
"""Fields of a Group or Rows that are None in some runs."""


def _none_field(error: BaseException, path: Path, arguments: tuple[Any, ...]) -> str:
    """Advice for an error about None: which of the fields above may have caused it."""
    if "NoneType" not in str(error):
        return ""
    code = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    read = {name for each in code if each.co_filename == str(path) for name in each.co_names}
    missing = [name for name in _OPTIONAL if name in read and any(getattr(each, name, 0) is None for each in arguments)]
    return "".join(f"; {name} is None {_OPTIONAL[name]}" for name in missing)


def in_one_line(error: BaseException) -> str:
    """An error's type and message on one line."""
    text = " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split())
    return f"{type(error).__name__}: {text}".removesuffix(": ")[:MOST_CHARACTERS] + _suggestion(error, text)


def _suggestion(error: BaseException, text: str) -> str:
    """The known field, option or name closest to a mistyped one."""
    unknown = re.match(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", text)
    if isinstance(error, TypeError) and unknown and is_dataclass(of := getattr(base, unknown[1], None)):
        word, known = unknown[2], [each.name for each in fields(of)]
    elif isinstance(error, AttributeError) and error.name:
        word, known = error.name, dir(error.obj)
        if isinstance(error.obj, SimpleNamespace):
            known = list(vars(error.obj))
            if not difflib.get_close_matches(word, known, n=1):
                return f"; s has {', '.join(known)}"
    else:
        return ""
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def name_of_shape(shape: Shape, file: str) -> str:
    """The name by which `find_shape` finds a shape in another process.

    Args:
        file: the algorithm's file, if user-supplied.

    Raises:
        AlgorithmFileError: another process could not find it: not a function, nested in another function, or its name
            refers to something else in its file.
    """
    if not isinstance(shape, FunctionType):
        raise AlgorithmFileError(f"the shape {shape!r} of a term must be a function of its file, written with def")
    module, name = shape.__module__, shape.__qualname__
    if "<" in name or "." in name:
        raise AlgorithmFileError(f"the shape {name} of a term must be a top-level function of its file, not nested")
    if getattr(sys.modules.get(module), name, None) is not shape:
        raise AlgorithmFileError(
            f"the shape of a term is named {name}, which is something else in its file, so other processes "
            f"cannot find it; define it with def, under a unique name"
        )
    return f"{Path(file).resolve()}:{name}" if module.startswith("uft_algorithm_") else f"{module}:{name}"


@cache
def find_shape(name: str) -> Any:
    """The function named by `name_of_shape`."""
    where, _, function = name.rpartition(":")
    return getattr(_load(where) if where.endswith(".py") else importlib.import_module(where), function)
