"""Which flags have an effect on which algorithm. A flag without effect is an error, because the user expects one."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from recipes.algorithms import Algorithm, AlgorithmFileError, algorithms, get_algorithm
from recipes.common.errors import ExperimentError
from recipes.settings.alignment import Alignment
from recipes.settings.declare import declared, options_of
from recipes.settings.experiment import Experiment
from recipes.settings.modes import PARTS
from recipes.settings.task_options import TAKEN_BY, takes
from recipes.settings.tasks import validated_on

# With a single supervised stage, each pair names one setting.
SAME_FOR_SFT = (("lr", "sft_lr"), ("epochs", "sft_epochs"))

MOST_NAMES = 8
"""Most algorithms listed in a message about a flag."""

_OF_RUNS = {name for part in PARTS for name in declared(part)} | {"overrides"}
_SETTINGS = {**declared(Alignment), **declared(Experiment)}


def without_effect(flags: Mapping[str, Any], experiment: Experiment) -> list[str]:
    """The given flags (not None) that have no effect on this experiment."""
    given = [name for name, value in flags.items() if value is not None and name in _SETTINGS]
    return [name for name in given if not _applies(name, experiment)]


def _applies(name: str, experiment: Experiment) -> bool:
    if name in ("val_samples", "temperature") and "rl" not in experiment.stages:
        drawn = name == "val_samples" or experiment.val_samples > 0
        return drawn and validated_on(experiment.data, experiment.stages) is not None
    return _SETTINGS[name].applies(experiment.algorithm, experiment.stages)


def with_effect(flags: Mapping[str, Any], experiment: Experiment) -> dict[str, Any]:
    """The flags of one of several runs, with those that have no effect on it set to None.

    If two flags name one of its settings, the shorter one is meant for the other runs.
    """
    supervised = experiment.stages == ("sft",)
    twice = [short for short, long in SAME_FOR_SFT if supervised and None not in (flags.get(short), flags.get(long))]
    return {**flags, **dict.fromkeys([*without_effect(flags, experiment), *twice])}


def foreign(flags: Mapping[str, Any], algo: str | None, data: str | None) -> list[str]:
    """The given flags that are options of other algorithms or tasks than these (None: the defaults).

    An unknown algorithm has no options; it is refused when it is resolved.
    """
    try:
        algorithm = get_algorithm(algo or "uft")
    except (KeyError, AlgorithmFileError):
        return []
    mine = options_of(algorithm.name, algorithm.options)
    given = [name for name, value in flags.items() if value is not None]
    return [
        name for name in given if (name not in _OF_RUNS and name not in mine) or not takes(data or "countdown", name)
    ]


def refuse_foreign(given: Mapping[str, Any], flags: Mapping[str, Any]) -> None:
    """Refuse flags in `given` that are options of other algorithms or tasks than those in `flags`.

    Raises:
        ExperimentError: names the flag and its algorithms or tasks.
    """
    for name in foreign(given, flags.get("algo"), flags.get("data")):
        owners = TAKEN_BY.get(name) or _algorithms_with(name)
        if owners:
            kind, usual = ("data", "countdown") if name in TAKEN_BY else ("algo", "uft")
            what = f"--{kind} {flags.get(kind) or usual}"
            raise ExperimentError(f"--{name}: has no effect on {what}; it is an option of {', '.join(owners)}")


def _algorithms_with(option: str) -> list[str]:
    return [each.name for each in algorithms().values() if option in options_of(each.name, each.options)]


def each_its_own(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The flags of several runs, each without options that only other runs use."""
    strange = [set(foreign(run, run.get("algo"), run.get("data"))) for run in runs]
    idle = set.intersection(*strange)
    return [{**run, **dict.fromkeys(names - idle)} for run, names in zip(runs, strange, strict=True)]


def without_use(flags: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Those of `names`, given by a file, that the algorithm and task of `flags` do not use, or that are second names of
    a given setting."""
    names = set(names)
    algo = flags.get("algo") or "uft"
    found = [name for name in foreign(flags, algo, flags.get("data")) if name in names]
    with suppress(KeyError, AlgorithmFileError):
        for pair in SAME_FOR_SFT if get_algorithm(algo).stages == ("sft",) else ():
            if all(flags.get(name) is not None for name in pair):
                found += [name for name in pair if name in names][:1]
    return found


def refuse_without_effect(flags: Mapping[str, Any], experiments: Iterable[Experiment]) -> None:
    """Refuse a flag without effect on any of these experiments, which were made from the same flags.

    Raises:
        ExperimentError: names the flag and what it applies to.
    """
    known = list(experiments)
    for short, long in SAME_FOR_SFT:
        if flags.get(short) is not None and flags.get(long) is not None and {e.stages for e in known} == {("sft",)}:
            raise ExperimentError(f"--{short} and --{long} mean the same for --algo {known[0].algo}; give one")
    idle = set.intersection(*(set(without_effect(flags, each)) for each in known)) if known else set()
    for name in flags:
        if name in idle:
            here = ", ".join(dict.fromkeys(each.algorithm.name for each in known))
            kind = " on answers" if known[0].stages == ("alignment",) else ""
            raise ExperimentError(
                f"--{name} {flags[name]}: has no effect on --algo {here}{kind}; it applies to {_where(name)}"
            )


def _where(name: str) -> str:
    """What a flag applies to: the algorithms on their usual data if these are few, otherwise a description."""
    applies = _SETTINGS[name].applies
    found = [each.name for each in algorithms().values() if applies(each, usual_stages(each))]
    on_answers = [each for each in algorithms().values() if each.stages == ("sft",) and each.name not in found]
    found += [f"{each.name} on instructions" for each in on_answers if applies(each, ("alignment",))]
    return ", ".join(found) if len(found) <= MOST_NAMES else str(applies.__doc__)


def usual_stages(algorithm: Algorithm) -> tuple[str, ...]:
    """Its stages on its usual kind of data."""
    return ("alignment",) if algorithm.method else algorithm.stages
