"""What --eval can be given besides one task: lists of tasks, and suites with the benchmarks of the papers."""

from dataclasses import dataclass
from pathlib import Path

from recipes.experiment import ExperimentError, nearest
from recipes.tasks import TASKS


@dataclass(frozen=True)
class Part:
    """One evaluation: rows of a task, or a suite of lm-evaluation-harness."""

    name: str
    """Of its folder and its line in the summary."""

    data: str
    """Task, file or folder; for the harness the name of its suite."""

    sources: tuple[str, ...] = ()
    """Only rows of these data sources; empty is all."""

    harness: bool = False
    """Run by lm-evaluation-harness, with its own prompts and scores."""


_MATH = ("aime24", "aime25", "amc", "math500", "minerva", "olympiad_bench")

SUITES = {
    "math": (Part("math-suite", "others", _MATH),),
    "reasoning": (Part("countdown", "countdown"), Part("kk_logic", "kk_logic"), Part("gsm8k", "others", ("gsm8k",))),
    "vnhsge": (Part("vnhsge", "vnhsge"),),
    "general_knowledge": (Part("general_knowledge", "general_knowledge"),),
    **{name: (Part(name, name, harness=True),) for name in ("villm", "leaderboard_new", "leaderboard_old")},
}
PREFIX = "suite:"


def parts_of(data: str) -> tuple[Part, ...]:
    """The evaluations that `--data` asks for: comma-separated tasks, files, folders and suites.

    A name that is both a task and a suite (math) means the task; suite:math means the suite.

    Raises:
        ExperimentError: for an unknown suite, or a name that is given twice.
    """
    found: list[Part] = []
    for name in data.split(","):
        suite = name.removeprefix(PREFIX)
        if name.startswith(PREFIX) and suite not in SUITES:
            raise ExperimentError(f"--data {name}: no such suite{nearest(suite, SUITES)} Known: {', '.join(SUITES)}.")
        if name.startswith(PREFIX) or (name in SUITES and name not in TASKS):
            found += SUITES[suite]
        else:
            found.append(Part(Path(name).name, name))
    names = [part.name for part in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ExperimentError(f"--data {data}: {twice[0]} is asked for twice")
    return tuple(found)
