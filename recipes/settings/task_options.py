"""Flags of a task's generator: number and difficulty of its problems. They override the profile's `data_options`."""

from dataclasses import dataclass
from typing import Any

from recipes.common.errors import ExperimentError
from recipes.common.values import at_least, not_negative, numbers
from recipes.settings.declare import setting
from recipes.settings.tasks import TASKS

_GENERATED = "generated problems"


@dataclass(frozen=True)
class Generated:
    """Arguments of the generators, by the generators' names."""

    n_train: int | None = setting(_GENERATED, None, check=at_least(1), evaluates=True)
    """Training problems (countdown, kk_logic, chain, countdown_preference)."""

    n_test: int | None = setting(_GENERATED, None, check=at_least(1), evaluates=True)
    """Test problems (countdown, kk_logic, chain, countdown_preference)."""

    sizes: tuple[int, ...] | None = setting(_GENERATED, None, read=numbers, metavar="N,N", evaluates=True)
    """How many numbers a countdown problem may have."""

    max_number: int | None = setting(_GENERATED, None, check=at_least(1), evaluates=True)
    """Countdown uses numbers from 1 to this one."""

    operators: str | None = setting(_GENERATED, None, evaluates=True)
    """Operators that countdown solutions may use: --operators=+-."""

    people: tuple[int, ...] | None = setting(_GENERATED, None, read=numbers, metavar="N,N", evaluates=True)
    """How many people a kk_logic puzzle may have."""

    rule: str | None = setting(_GENERATED, None, evaluates=True)
    """How an input changes the state of a chain: sum, table (hidden) or parity."""

    states: int | None = setting(_GENERATED, None, check=at_least(2), evaluates=True)
    """Number of states of a chain."""

    depth: int | None = setting(_GENERATED, None, check=at_least(1), evaluates=True)
    """Number of inputs of a chain."""

    test_depths: tuple[int, ...] | None = setting(_GENERATED, None, read=numbers, metavar="N,N", evaluates=True)
    """Additional depths to test chains on."""

    table: int | None = setting(_GENERATED, None, check=not_negative, evaluates=True)
    """Which hidden table a chain uses; the embedded base models partly know table 0."""


_COUNTED = ("countdown", "kk_logic", "chain", "countdown_preference")
TAKEN_BY = {
    **dict.fromkeys(("n_train", "n_test"), _COUNTED),
    **dict.fromkeys(("sizes", "max_number", "operators"), ("countdown",)),
    "people": ("kk_logic",),
    **dict.fromkeys(("rule", "states", "depth", "test_depths", "table"), ("chain",)),
}
"""Tasks whose generators take each flag."""


def takes(task: str, name: str) -> bool:
    """Whether a task accepts a flag. Tasks in a mixture take the profile's options."""
    if name == "data_path":
        return task in TASKS and TASKS[task].from_hub
    if name == "columns":
        return task not in TASKS
    return task in TAKEN_BY.get(name, (task,))


def take_task_options(task: str, defaults: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Arguments of the task's generator: `defaults`, overridden by its flags, which are removed from `given`.

    Raises:
        ExperimentError: for a value the generator would refuse.
    """
    mine = {name: given.pop(name) for name in TAKEN_BY if name in given}
    options = {**defaults, **mine}
    if mine:
        _check(task, options)
    return options


def _check(task: str, options: dict[str, Any]) -> None:
    """Refuse now what the generator would refuse after the run has started."""
    try:
        if task == "chain":
            from data_prep.chain.files import check

            check(**options)
        elif task == "countdown":
            from data_prep.countdown.generate import Space

            given = {name: options[name] for name in ("max_number", "operators") if name in options}
            Space(tuple(options.get("sizes", (3, 4))), **given).check_size(_asked(options))
        elif task == "kk_logic":
            from data_prep.kk_logic.generate import Space as Puzzles

            Puzzles(tuple(options.get("people", (3, 4, 5, 6, 7)))).check_size(_asked(options))
    except ValueError as error:
        raise ExperimentError(f"--data {task}: {error}") from None


def _asked(options: dict[str, Any]) -> int:
    return sum(options.get(name, 0) for name in ("n_train", "n_test"))
