"""Which flags have an effect on which algorithm. One that has none is an error: its user believes something else."""

from collections.abc import Iterable, Mapping
from typing import Any

from recipes.algorithms import Algorithm, algorithms
from recipes.alignment import Alignment
from recipes.experiment import Experiment, ExperimentError
from recipes.settings import declared

# Where there is one supervised stage, these are two names of one setting.
SAME_FOR_SFT = (("lr", "sft_lr"), ("epochs", "sft_epochs"))

MOST_NAMES = 8
"""Algorithms that one line about a flag names."""

_SETTINGS = {**declared(Alignment), **declared(Experiment)}


def without_effect(flags: Mapping[str, Any], experiment: Experiment) -> list[str]:
    """The flags that were given (are not None) and change nothing of this experiment."""
    given = [name for name, value in flags.items() if value is not None and name in _SETTINGS]
    return [name for name in given if not _SETTINGS[name].applies(experiment.algorithm, experiment.stages)]


def refuse_without_effect(flags: Mapping[str, Any], experiments: Iterable[Experiment]) -> None:
    """Refuse a flag that changes nothing in any of these experiments, which were made from the same flags.

    Raises:
        ExperimentError: names the flag, and where it does apply.
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
    """What a flag applies to; the algorithms, as they run on the data they are made for, where these are few."""
    applies = _SETTINGS[name].applies
    found = [each.name for each in algorithms().values() if applies(each, usual_stages(each))]
    on_answers = [each for each in algorithms().values() if each.stages == ("sft",) and each.name not in found]
    found += [f"{each.name} on instructions" for each in on_answers if applies(each, ("alignment",))]
    return ", ".join(found) if len(found) <= MOST_NAMES else str(applies.__doc__)


def usual_stages(algorithm: Algorithm) -> tuple[str, ...]:
    """Its stages on the data it is made for."""
    return ("alignment",) if algorithm.method else algorithm.stages
