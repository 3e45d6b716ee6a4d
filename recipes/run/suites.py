"""What --eval accepts besides one task: lists of tasks, and suites with the papers' benchmarks."""

from dataclasses import dataclass, replace

from eval.harness_tasks import SUITES as HARNESS_SUITES
from recipes.common.errors import ExperimentError, nearest
from recipes.common.listed import listed
from recipes.settings.data_sets import data_title, mixture
from recipes.settings.tasks import TASKS


@dataclass(frozen=True)
class Part:
    """One evaluation: rows of a task, or a suite of lm-evaluation-harness."""

    name: str
    """Names its folder and its line in the summary."""

    data: str
    """Task, file or folder; for the harness the name of its suite."""

    sources: tuple[str, ...] = ()
    """Only rows of these data sources; empty: all."""

    harness: bool = False
    """Run by lm-evaluation-harness, with its own prompts and scores."""

    skip: tuple[str, ...] = ()
    """Benchmarks of the harness to skip."""


_MATH = ("aime24", "aime25", "amc", "math500", "minerva", "olympiad_bench")

SUITES = {
    "math": (Part("math-suite", "others", _MATH),),
    "reasoning": (Part("countdown", "countdown"), Part("kk_logic", "kk_logic"), Part("gsm8k", "others", ("gsm8k",))),
    "vnhsge": (Part("vnhsge", "vnhsge"),),
    "general_knowledge": (Part("general_knowledge", "general_knowledge"),),
    **{name: (Part(name, name, harness=True),) for name in ("villm", "leaderboard_new", "leaderboard_old")},
}
PREFIX = "suite:"


def parts_of(data: str, skip: str | None = None) -> tuple[Part, ...]:
    """The evaluations that `--data` names: comma-separated tasks, files, folders and suites.

    A name that is both a task and a suite (math) means the task; suite:math means the suite.

    Args:
        skip: comma-separated benchmarks of the harness's suites to skip.

    Raises:
        ExperimentError: for an unknown suite, a name given twice, or a benchmark to skip that is in no suite.
    """
    found: list[Part] = []
    if mixture(data):
        raise ExperimentError(f"--data {data}: weights have no effect on an evaluation; remove them")
    for name in listed(data, "data", distinct=False):
        suite = name.removeprefix(PREFIX)
        if name.startswith(PREFIX) and suite not in SUITES:
            raise ExperimentError(f"--data {name}: no such suite{nearest(suite, SUITES)} Known: {', '.join(SUITES)}.")
        if name.startswith(PREFIX) or (name in SUITES and name not in TASKS):
            found += SUITES[suite]
        else:
            found.append(Part(data_title(name), name))
    names = [part.name for part in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ExperimentError(f"--data {data}: {twice[0]} is given twice")
    return tuple(_without(found, listed(skip, "skip"))) if skip else tuple(found)


def _without(parts: list[Part], skip: list[str]) -> list[Part]:
    there = [benchmark.name for part in parts if part.harness for benchmark in HARNESS_SUITES[part.data]]
    for name in skip:
        if name not in there:
            known = f"which has {', '.join(there)}" if there else "which has no suite of lm-evaluation-harness"
            raise ExperimentError(f"--skip {name}: not part of --data, {known}")
    return [
        replace(part, skip=tuple(each.name for each in HARNESS_SUITES[part.data] if each.name in skip))
        if part.harness
        else part
        for part in parts
    ]
