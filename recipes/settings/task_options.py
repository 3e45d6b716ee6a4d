"""Flags of a task's generator: how hard its problems are and how many. They lie over the profile's `data_options`."""

from dataclasses import dataclass
from typing import Any

from recipes.common.errors import ExperimentError
from recipes.common.values import at_least, not_negative, numbers
from recipes.settings.declare import setting
from recipes.settings.tasks import TASKS

_GENERATED = "problems that are generated"


@dataclass(frozen=True)
class Generated:
    """Arguments of the generators by the names that these give them."""

    n_train: int | None = setting(_GENERATED, None, check=at_least(1), evaluates=True)
    """Training problems (countdown, kk_logic, chain, countdown_preference)."""

    n_test: int | None = setting(_GENERATED, None, check=at_least(1), evaluates=True)
    """Test problems (countdown, kk_logic, chain, countdown_preference)."""

    sizes: tuple[int, ...] | None = setting(_GENERATED, None, read=numbers, metavar="N,N", evaluates=True)
    """How many numbers a countdown problem has."""

    max_number: int | None = setting(_GENERATED, None, check=at_least(1), evaluates=True)
    """The numbers of countdown are 1 to this."""

    operators: str | None = setting(_GENERATED, None, evaluates=True)
    """What solutions of countdown may use: --operators=+-."""

    people: tuple[int, ...] | None = setting(_GENERATED, None, read=numbers, metavar="N,N", evaluates=True)
    """How many people a puzzle of kk_logic has."""

    rule: str | None = setting(_GENERATED, None, evaluates=True)
    """What an input does to the state of a chain: sum, table (a hidden one) or parity."""

    states: int | None = setting(_GENERATED, None, check=at_least(2), evaluates=True)
    """How many states a chain has."""

    depth: int | None = setting(_GENERATED, None, check=at_least(1), evaluates=True)
    """Inputs of a chain."""

    test_depths: tuple[int, ...] | None = setting(_GENERATED, None, read=numbers, metavar="N,N", evaluates=True)
    """Further depths that chains are tested on."""

    table: int | None = setting(_GENERATED, None, check=not_negative, evaluates=True)
    """Which hidden table a chain has; the embedded bases half know table 0."""


_COUNTED = ("countdown", "kk_logic", "chain", "countdown_preference")
TAKEN_BY = {
    **dict.fromkeys(("n_train", "n_test"), _COUNTED),
    **dict.fromkeys(("sizes", "max_number", "operators"), ("countdown",)),
    "people": ("kk_logic",),
    **dict.fromkeys(("rule", "states", "depth", "test_depths", "table"), ("chain",)),
}
"""Whose generator takes each."""


def takes(task: str, name: str) -> bool:
    """Whether a flag is not another task's alone. Those of the tasks in a mixture are the profile's."""
    if name == "data_path":
        return task in TASKS and TASKS[task].from_hub
    if name == "columns":
        return task not in TASKS
    return task in TAKEN_BY.get(name, (task,))


def take_task_options(task: str, defaults: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Arguments of the task's generator: `defaults` under what is given, which is taken out of `given`.

    Raises:
        ExperimentError: for a value that no problem can have.
    """
    mine = {name: given.pop(name) for name in TAKEN_BY if name in given}
    options = {**defaults, **mine}
    if mine:
        _check(task, options)
    return options


def _check(task: str, options: dict[str, Any]) -> None:
    """What the generator would refuse once the run has begun."""
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
