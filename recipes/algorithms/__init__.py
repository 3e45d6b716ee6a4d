"""The algorithms behind --algo: every file in this folder that defines ALGORITHM, and files of a user's own."""

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
"""What each hook is called with."""

MOST_CHARACTERS = 400
"""Of an error that is quoted."""


class AlgorithmFileError(ValueError):
    """A file given to --algo that holds no algorithm, or one whose hook failed; says why, in one line."""


@cache
def algorithms() -> dict[str, Algorithm]:
    """All algorithms of this folder by name, in alphabetical order of their files."""
    found = {}
    for module_info in pkgutil.iter_modules(__path__):
        if module_info.ispkg or module_info.name == "base":  # hints, losses and the contract
            continue
        algorithm: Algorithm = importlib.import_module(f"{__name__}.{module_info.name}").ALGORITHM
        found[algorithm.name] = algorithm
    return found


def get_algorithm(name: str) -> Algorithm:
    """The algorithm of that name or alias, or in that file (path/mine.py).

    Raises:
        KeyError: when there is none of that name.
        AlgorithmFileError: for a file without one.
    """
    if name.endswith(".py"):
        module = _load(name)
        found = getattr(module, "ALGORITHM", None)
        if not isinstance(found, Algorithm):
            raise AlgorithmFileError(f"{name}: {_without(module)}; write ALGORITHM = Algorithm(...)")
        return found
    for algorithm in algorithms().values():
        if name in (algorithm.name, *algorithm.aliases):
            return algorithm
    raise KeyError(name)


def _without(module: ModuleType) -> str:
    """What a file has in place of an ALGORITHM."""
    others = [name for name, value in vars(module).items() if isinstance(value, Algorithm)]
    if others:
        return f"defines no ALGORITHM, but the algorithm {others[0]}"
    if hasattr(module, "ALGORITHM"):
        value = module.ALGORITHM
        return f"its ALGORITHM is {'a class' if isinstance(value, type) else 'of type ' + type(value).__name__}"
    return "defines no ALGORITHM (recipes.algorithms.base.Algorithm)"


def _load(file: str) -> ModuleType:
    """A user's file as a module of a name of its own, the same in every process of a run."""
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
        with suppress(ImportError):  # which the file then says itself
            importlib.import_module("torch")  # a minute on a cold disk, which is not the file's fault
    try:
        with time_limit():
            spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        del sys.modules[name]
        beside = isinstance(error, ModuleNotFoundError) and path.with_name(f"{error.name}.py").is_file()
        alone = "; its folder is not searched: put that into the same file, or the folder on PYTHONPATH" * beside
        raise AlgorithmFileError(f"{_place(error, path)}: cannot be loaded: {in_one_line(error)}{alone}") from error
    found = getattr(module, "ALGORITHM", None)
    if isinstance(found, Algorithm):
        module.ALGORITHM = _named(found, path)  # type: ignore[attr-defined]
    return module


def _named(algorithm: Algorithm, path: Path) -> Algorithm:
    """The algorithm with hooks whose errors say in one line which hook failed, and where: a worker's traceback alone
    ends in the framework's files."""

    def named(name: str, hook: Callable[..., Any]) -> Any:
        @wraps(hook)
        def asked(*arguments: Any) -> Any:
            try:
                return hook(*arguments)
            except (Exception, SystemExit, OutOfTimeError) as error:
                said = f"{_place(error, path)}: {name}: {in_one_line(error)}{_absent(error, path, arguments)}"
                raise AlgorithmFileError(said) from error

        return asked

    # The defaults stay as they are: whether a hook is one of them is asked elsewhere.
    usual = {each.name: each.default for each in fields(Algorithm)}
    own: dict[str, Any] = {name: getattr(algorithm, name) for name in HOOKS}
    own = {name: hook for name, hook in own.items() if callable(hook) and hook is not usual[name]}
    return replace(algorithm, **{name: named(name, hook) for name, hook in own.items()})


def _place(error: BaseException, path: Path) -> str:
    """Where in a user's file an error comes from, as far as is known."""
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == str(path)]
    if isinstance(error, SyntaxError) and error.filename == str(path) and error.lineno:
        lines.append(error.lineno)
    return f"{path}, line {lines[-1]}" if lines else str(path)


_ABSENT = {
    "ref": "without a reference model; write needs=frozenset({'reference'}), or give --kl_coef",
    "rescored": "without a context; give the algorithm one",
}
"""Fields of a Group, or Rows, that are None in some runs."""


def _absent(error: BaseException, path: Path, arguments: tuple[Any, ...]) -> str:
    """Which of these an error about None may come from."""
    if "NoneType" not in str(error):
        return ""
    code = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    read = {name for each in code if each.co_filename == str(path) for name in each.co_names}
    missing = [name for name in _ABSENT if name in read and any(getattr(each, name, 0) is None for each in arguments)]
    return "".join(f"; {name} is None {_ABSENT[name]}" for name in missing)


def in_one_line(error: BaseException) -> str:
    """An error in one line, however many it has."""
    text = " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split())
    return f"{type(error).__name__}: {text}".removesuffix(": ")[:MOST_CHARACTERS] + _meant(error, text)


def _meant(error: BaseException, text: str) -> str:
    """What a mistyped field, option or name was probably meant to be."""
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
    """What `find_shape` finds it by in another process. `file`: the algorithm's, where it is a user's own.

    Raises:
        AlgorithmFileError: for what no other process can find: no function, one made inside another, or another one
            than its file has under that name.
    """
    if not isinstance(shape, FunctionType):
        raise AlgorithmFileError(f"the shape {shape!r} of a term must be a function of its file, written with def")
    module, name = shape.__module__, shape.__qualname__
    if "<" in name or "." in name:
        raise AlgorithmFileError(
            f"the shape {name} of a term must be a function of its file, not one made inside another"
        )
    if getattr(sys.modules.get(module), name, None) is not shape:
        raise AlgorithmFileError(
            f"the shape of a term calls itself {name}, which is something else in its file: no other process could "
            f"find it; write it with def under a name of its own"
        )
    return f"{Path(file).resolve()}:{name}" if module.startswith("uft_algorithm_") else f"{module}:{name}"


@cache
def find_shape(name: str) -> Any:
    """The function behind `name_of_shape`'s name."""
    where, _, function = name.rpartition(":")
    return getattr(_load(where) if where.endswith(".py") else importlib.import_module(where), function)
