"""The runs that flags of run.py --sweep ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recipes.commands.planned import Planned
from recipes.commands.sweep import planned_sweep
from recipes.flags.parser import read

_OF_RUN_PY = ("config", "visible_devices", "eval", "sweep", "reproduce", "pipeline")


def flags_of(arguments: Sequence[str]) -> dict[str, Any]:
    """Flags of run.py without those that choose what it does."""
    return {name: value for name, value in read(list(arguments), []).flags.items() if name not in _OF_RUN_PY}


def planned(arguments: Sequence[str]) -> tuple[list[Planned], bool]:
    """The runs, and whether they are only to be listed. Raises ExperimentError for what a sweep would refuse."""
    flags = flags_of(arguments)
    return planned_sweep(flags)[1], bool(flags["dry_run"])
