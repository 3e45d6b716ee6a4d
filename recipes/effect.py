"""Which flags have an effect on which algorithm. One that has none is an error: its user believes something else."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from recipes.algorithms import Algorithm, algorithms
from recipes.algorithms.base import grpo
from recipes.experiment import Experiment, ExperimentError

Stages = tuple[str, ...]
Applies = Callable[[Algorithm, Stages], bool]


def _rl(_: Algorithm, stages: Stages) -> bool:
    return "rl" in stages


def _ppo(algorithm: Algorithm, stages: Stages) -> bool:
    return "rl" in stages and algorithm.loss is None


def _hints(algorithm: Algorithm, stages: Stages) -> bool:
    return "rl" in stages and algorithm.uses_hints


def _hint_term(algorithm: Algorithm, stages: Stages) -> bool:
    # What a file of one's own does with them, it alone knows.
    known = algorithms().get(algorithm.name) is algorithm
    own = algorithm.weigh is grpo or "sft_loss_coef" in algorithm.settings
    return _hints(algorithm, stages) and (own or not known)


def _answers(_: Algorithm, stages: Stages) -> bool:
    return stages == ("alignment",)


def _una(algorithm: Algorithm, stages: Stages) -> bool:
    return _answers(algorithm, stages) and algorithm.method == "una"


APPLIES: dict[str, Applies] = {
    **dict.fromkeys(("T", "n_rollout", "mini_batch_size", "temperature", "log_rollouts", "parse_fail_steps"), _rl),
    **dict.fromkeys(("max_reward_error_rate", "max_timeout_rate", "max_parse_fail_rate"), _rl),
    **dict.fromkeys(("kl_coef", "clip_ratio", "entropy_coef"), _ppo),
    "T_hint": _hints,
    **dict.fromkeys(("sft_loss_coef", "hint_nll_agg"), _hint_term),
    "max_hint_length": lambda algorithm, stages: "sft" in stages or _hints(algorithm, stages),
    "critic_lr": lambda algorithm, stages: "rl" in stages and "critic" in algorithm.needs,
    **dict.fromkeys(("sft_lr", "sft_epochs"), lambda algorithm, stages: "sft" in stages),
    **dict.fromkeys(("micro_batch_size", "max_length", "lora_dropout", "load_in_4bit", "precompute_ref"), _answers),
    **dict.fromkeys(("feedback", "una_loss", "sft_ratio"), _una),
    "una_target": lambda algorithm, stages: "rl" in stages and algorithm.loss is not None,
    "beta": lambda algorithm, stages: (
        (_answers(algorithm, stages) and algorithm.method is not None)
        or ("rl" in stages and algorithm.loss is not None)
    ),
    "epochs": lambda algorithm, stages: stages in (("alignment",), ("sft",)),
    "tokens_per_micro_batch": lambda algorithm, stages: not _answers(algorithm, stages),
}
"""Flags that do not apply everywhere, by whether they do to an algorithm in these stages."""


def without_effect(flags: Mapping[str, Any], experiment: Experiment) -> list[str]:
    """The flags that were given (are not None) and change nothing of this experiment."""
    given = [name for name, value in flags.items() if value is not None and name in APPLIES]
    return [name for name in given if not APPLIES[name](experiment.algorithm, experiment.stages)]


def refuse_without_effect(flags: Mapping[str, Any], experiments: Iterable[Experiment]) -> None:
    """Refuse a flag that changes nothing in any of these experiments, which were made from the same flags.

    Raises:
        ExperimentError: names the flag, and where it does apply.
    """
    known = list(experiments)
    for short, long in (("lr", "sft_lr"), ("epochs", "sft_epochs")):
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
    """The algorithms a flag applies to, as they run on the data they are made for."""
    found = [
        each.name
        for each in algorithms().values()
        if APPLIES[name](each, ("alignment",) if each.method else each.stages)
    ]
    on_answers = [each for each in algorithms().values() if each.stages == ("sft",) and each.name not in found]
    found += [f"{each.name} on instructions" for each in on_answers if APPLIES[name](each, ("alignment",))]
    return ", ".join(found)
