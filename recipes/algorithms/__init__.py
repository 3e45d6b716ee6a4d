"""The algorithms behind --algo. Every file in this folder that defines ALGORITHM is one."""

import importlib
import pkgutil
from functools import cache

from recipes.algorithms.base import Algorithm

__all__ = ["Algorithm", "algorithms", "get_algorithm"]


@cache
def algorithms() -> dict[str, Algorithm]:
    """All algorithms by name, in alphabetical order of their files."""
    found = {}
    for module_info in pkgutil.iter_modules(__path__):
        if module_info.name == "base":
            continue
        algorithm: Algorithm = importlib.import_module(f"{__name__}.{module_info.name}").ALGORITHM
        found[algorithm.name] = algorithm
    return found


def get_algorithm(name: str) -> Algorithm:
    """The algorithm of that name or alias. Raises KeyError when there is none."""
    for algorithm in algorithms().values():
        if name in (algorithm.name, *algorithm.aliases):
            return algorithm
    raise KeyError(name)
