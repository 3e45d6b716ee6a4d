"""One direction of dependencies: no circle of imports, late ones included, nor of packages; each looks down only."""

import ast
import graphlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests import ROOT

TOP = ("recipes", "reward_fns", "data_prep", "eval", "bench")
LAYERS = {
    "recipes": (
        "common",
        "algorithms",
        "settings",
        "watch",
        "data",
        "estimate",
        "checks",
        "flags",
        "verl_plugin",
        "trl_plugin",
        "run",
        "commands",
        "doctor",
    ),
    "data_prep": (
        "files",
        *("countdown", "kk_logic", "math", "benchmarks"),
        "tiny_base",
        "chain",
        *("problems", "preference"),
    ),
    "reward_fns": (*("kk_logic", "math"), "audit", "trials"),
}
"""Packages: each imports those before it only."""

ONLY_IN = {
    "verl": "recipes/verl_plugin",
    "ray": "recipes/verl_plugin",
    "trl": "recipes/trl_plugin",
}


@cache
def modules() -> dict[str, Path]:
    """Every module of the packages that are installed with the program."""
    files = (file for top in TOP for file in (ROOT / top).rglob("*.py"))
    return {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imports(file: Path) -> Iterator[str]:
    """What a file imports, at its head or later: modules by name."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in modules() else node.module


@cache
def edges() -> dict[str, set[str]]:
    """Each module of ours with those of ours that it imports."""
    return {name: {each for each in imports(file) if each in modules()} - {name} for name, file in modules().items()}


def test_no_module_imports_itself_by_way_of_others() -> None:
    try:
        graphlib.TopologicalSorter(edges()).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize("top", LAYERS)
def test_packages_look_down_only(top: str) -> None:
    layers = LAYERS[top]
    assert {file.parent.name for file in (ROOT / top).glob("*/__init__.py")} == {*layers}

    def layer(module: str) -> int | None:
        first, _, rest = module.partition(".")
        name = rest.partition(".")[0]
        return layers.index(name) if first == top and name in layers else None

    up = [
        f"{name} -> {each}"
        for name, found in edges().items()
        for each in found
        if (here := layer(name)) is not None and (there := layer(each)) is not None and there > here
    ]
    assert up == []


def test_all_of_recipes_is_in_its_packages() -> None:
    assert [file.name for file in (ROOT / "recipes").glob("*.py")] == ["__init__.py"]


def test_no_package_imports_itself_by_way_of_others() -> None:
    """Modules beside packages stand for themselves: schema.py is below all tasks, the front above them."""

    def unit(module: str) -> str:
        inside = [*modules()[module].relative_to(ROOT).parts]
        return ".".join(inside[:2])

    graph: dict[str, set[str]] = {}
    for name, found in edges().items():
        graph.setdefault(unit(name), set()).update(unit(each) for each in found if unit(each) != unit(name))
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_trainer_is_imported_in_its_plugin_only(library: str) -> None:
    """Measurements in bench/ may."""
    users = [
        file.relative_to(ROOT)
        for name, file in modules().items()
        for each in imports(file)
        if each.split(".")[0] == library
    ]
    assert users, library
    assert [str(user) for user in users if not str(user).startswith((ONLY_IN[library], "bench/"))] == []
