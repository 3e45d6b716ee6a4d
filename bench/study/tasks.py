"""`python3 -m bench.study.tasks [--until HH:MM] [--dry_run]`: the lab on other tasks than chains: countdown, with three
numbers and with four, and knights and knaves with three people.

EXPLORATION (bench/lab); a finished run is one append to results/study/tasks.csv.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Final

from bench.study import kk_base
from bench.study.cells import CORE, FAMILY, SEEDS, STEPS
from bench.study.figures import TASKS_FILE as FILE
from bench.study.figures import of_tasks
from bench.study.scan import alone, append, carry_on, plans, points

HEAD: Final = ("task", "algo", "seed", "step", "accuracy", "greedy", "generated", "trained", "seconds")
METHODS: Final = (*CORE, *FAMILY)

TASKS: Final = {
    "countdown, 3 numbers, + and -": ("--data", "countdown"),
    "countdown, 3 and 4 numbers, + - *": ("--data", "countdown", "--sizes", "3,4", "--operators=+-*"),
    "kk_logic, 3 people": (
        *("--data", "kk_logic", "--people", "3", "--n_test", f"{kk_base.TEST_ROWS}", "--model", f"{kk_base.FOLDER}"),
        *("--max_prompt_length", "64", "--max_response_length", f"{kk_base.LONGEST}"),
        *("--max_hint_length", f"{kk_base.LONGEST}"),
    ),
}
"""What a task adds to the flags that all have. The bases solve a fifth, a twenty-fifth and a third of the samples."""


def flags_of(task: str, seed: int) -> tuple[str, ...]:
    """Flags of a sweep over all methods: the compute of the scan's cells."""
    length = ("--T", f"{STEPS}", "--T_hint", f"{round(0.6 * STEPS)}", "--test_freq", f"{STEPS // 4}")
    judged = ("--entropy_coef", "0", "--val_samples", "4", "--val_size", "128", "--n_train", f"{kk_base.TRAIN_ROWS}")
    return ("--algo", ",".join(METHODS), *TASKS[task], *length, *judged, "--seeds", f"{seed}")


def _add(task: str, algo: str, seed: int) -> None:
    if f"{kk_base.FOLDER}" in TASKS[task]:
        with alone(kk_base.FOLDER.name, wait=True):
            kk_base.build_where_missing()
    found = points(plans(flags_of(task, seed))[algo])
    append([[f'"{task}"', algo, seed, *point] for point in found], FILE, HEAD)


def _title(task: str, algo: str, seed: int) -> str:
    return f"{task}: {algo}, seed {seed}"


def _made() -> set[str]:
    return {_title(task, algo, seed) for task, of in of_tasks().items() for algo, runs in of.items() for seed in runs}


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what the file lacks; returns the exit code."""
    listed = product(TASKS, SEEDS, METHODS)
    every = [(_title(task, algo, seed), partial(_add, task, algo, seed)) for task, seed, algo in listed]
    return carry_on("bench.study.tasks", __doc__, every, _made, arguments)


if __name__ == "__main__":
    sys.exit(main())
