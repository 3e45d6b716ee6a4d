"""`python3 -m bench.study.tasks [--until HH:MM]`: the lab on tasks other than chains: countdown, with three numbers and
with four.

EXPLORATION (bench/lab); a finished run is one append to results/study/tasks.csv.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from bench.study.cells import CORE, FAMILY, STEPS
from bench.study.figures import TASKS_FILE as FILE
from bench.study.figures import of_tasks
from bench.study.scan import append, plans, points

HEAD: Final = ("task", "algo", "seed", "step", "accuracy", "greedy", "generated", "trained", "seconds")
METHODS: Final = (*CORE, *FAMILY)
SEEDS: Final = range(3)

TASKS: Final = {
    "countdown, 3 numbers, + and -": ("--data", "countdown"),
    "countdown, 3 and 4 numbers, + - *": ("--data", "countdown", "--sizes", "3,4", "--operators=+-*"),
}
"""What a task adds to the flags that all have. The base solves a sixth of the first and a twentieth of the second."""


def flags_of(task: str, seed: int) -> tuple[str, ...]:
    """Flags of a sweep over all methods: the compute of the scan's cells."""
    length = ("--T", f"{STEPS}", "--T_hint", f"{round(0.6 * STEPS)}", "--test_freq", f"{STEPS // 4}")
    judged = ("--entropy_coef", "0", "--val_samples", "4", "--val_size", "128", "--n_train", "4096")
    return ("--algo", ",".join(METHODS), *TASKS[task], *length, *judged, "--seeds", f"{seed}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what the file lacks; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m bench.study.tasks", description=__doc__)
    parser.add_argument("--until", metavar="HH:MM", help="start no run after this time of day")
    options = parser.parse_args(arguments)
    import torch

    # A run is too small for two cores.
    torch.set_num_threads(1)
    have = of_tasks()
    for seed in SEEDS:
        for task in TASKS:
            for algo in METHODS:
                if seed in have.get(task, {}).get(algo, {}):
                    continue
                if options.until and f"{datetime.now():%H:%M}" >= options.until:
                    return 0
                found = points(plans(flags_of(task, seed))[algo])
                append([[f'"{task}"', algo, seed, *point] for point in found], FILE, HEAD)
                print(f"{task}: {algo}, seed {seed}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
