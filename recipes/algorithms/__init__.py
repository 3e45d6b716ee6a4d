"""The algorithms behind --algo: every file in this folder that defines ALGORITHM, and files of a user's own."""

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from recipes.algorithms.base import Algorithm, Shape

__all__ = ["Algorithm", "AlgorithmFileError", "algorithms", "find_shape", "get_algorithm", "name_of_shape"]


class AlgorithmFileError(ValueError):
    """A file given to --algo that holds no algorithm; says why."""


@cache
def algorithms() -> dict[str, Algorithm]:
    """All algorithms of this folder by name, in alphabetical order of their files."""
    found = {}
    for module_info in pkgutil.iter_modules(__path__):
        if module_info.name == "base":
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
        found = getattr(_load(name), "ALGORITHM", None)
        if not isinstance(found, Algorithm):
            raise AlgorithmFileError(f"{name}: defines no ALGORITHM (recipes.algorithms.base.Algorithm)")
        return found
    for algorithm in algorithms().values():
        if name in (algorithm.name, *algorithm.aliases):
            return algorithm
    raise KeyError(name)


def _load(file: str) -> ModuleType:
    """A user's file as a module of a name of its own, the same in every process of a run."""
    path = Path(file).resolve()
    name = f"uft_algorithm_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    if not path.is_file():
        raise AlgorithmFileError(f"{file}: no such file")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise AlgorithmFileError(f"{file}: cannot be loaded: {type(error).__name__}: {error}") from error
    return module


def name_of_shape(shape: Shape, file: str) -> str:
    """What `find_shape` finds it by in another process. `file`: the algorithm's, where it is a user's own.

    Raises:
        AlgorithmFileError: for a function made inside another one: no other process can find it.
    """
    module, name = shape.__module__, shape.__qualname__
    if "<" in name or "." in name:
        raise AlgorithmFileError(
            f"the shape {name} of a term must be a function of its file, not one made inside another"
        )
    return f"{Path(file).resolve()}:{name}" if module.startswith("uft_algorithm_") else f"{module}:{name}"


@cache
def find_shape(name: str) -> Any:
    """The function behind `name_of_shape`'s name."""
    where, _, function = name.rpartition(":")
    return getattr(_load(where) if where.endswith(".py") else importlib.import_module(where), function)
