"""Flags of the task generators: difficulty and number of problems. They override the profile's `data_options`."""

from dataclasses import dataclass
from typing import Any

from recipes.common.errors import ExperimentError
from recipes.common.values import at_least, not_negative, numbers
from recipes.settings.declare import setting
from recipes.settings.tasks import TASKS

_GENERATED = "generated problems"


@dataclass(frozen=True)
class Generated:
    """Arguments of the generators, under the same names."""

    n_train: int | None = setting(_GENERATED, None, check=at_least(1), evaluates=True)
    """Training problems (countdown, kk_logic, chain, countdown_preference)."""

    n_test: int | None = setting(_GENERATED, None, check=at_least(1), evaluates=True)
    """Test problems (countdown, kk_logic, chain, countdown_preference)."""

    sizes: tuple[int, ...] | None = setting(_GENERATED, None, read=numbers, metavar="N,N", evaluates=True)
    """countdown: how many numbers a problem has."""

    max_number: int | None = setting(_GENERATED, None, check=at_least(1), evaluates=True)
    """countdown: largest number; the smallest is 1."""

    operators: str | None = setting(_GENERATED, None, evaluates=True)
    """countdown: operators that solutions may use: --operators=+-."""

    people: tuple[int, ...] | None = setting(_GENERATED, None, read=numbers, metavar="N,N", evaluates=True)
    """kk_logic: how many people a puzzle has."""

    rule: str | None = setting(_GENERATED, None, evaluates=True)
    """chain: how an input changes the state: sum, table (hidden) or parity."""

    states: int | None = setting(_GENERATED, None, check=at_least(2), evaluates=True)
    """chain: number of states."""

    depth: int | None = setting(_GENERATED, None, check=at_least(1), evaluates=True)
    """chain: number of inputs."""

    test_depths: tuple[int, ...] | None = setting(_GENERATED, None, read=numbers, metavar="N,N", evaluates=True)
    """chain: additional depths to test on."""

    table: int | None = setting(_GENERATED, None, check=not_negative, evaluates=True)
    """chain: index of the hidden table; the embedded base models partly know table 0."""


_COUNTED = ("countdown", "kk_logic", "chain", "countdown_preference")
TAKEN_BY = {
    **dict.fromkeys(("n_train", "n_test"), _COUNTED),
    **dict.fromkeys(("sizes", "max_number", "operators"), ("countdown",)),
    "people": ("kk_logic",),
    **dict.fromkeys(("rule", "states", "depth", "test_depths", "table"), ("chain",)),
}
"""Tasks whose generators accept each flag."""


def takes(task: str, name: str) -> bool:
    """Whether a flag applies to a task. In mixtures, generators use the profile's values."""
    if name == "data_path":
        return task in TASKS and TASKS[task].from_hub
    if name == "columns":
        return task not in TASKS
    return task in TAKEN_BY.get(name, (task,))


def take_task_options(task: str, defaults: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Arguments of the task's generator: `defaults` overridden by its flags, which are removed from `given`.

    Raises:
        ExperimentError: for values that no problem can satisfy.
    """
    mine = {name: given.pop(name) for name in TAKEN_BY if name in given}
    options = {**defaults, **mine}
    if mine:
        _check(task, options)
    return options


def _check(task: str, options: dict[str, Any]) -> None:
    """Raise the errors that the generator would raise later in the run."""
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
