"""Refuses a user's algorithm that cannot work: checks its fields when its file is loaded, its draws when flags are
resolved.

Imports no torch. `weigh` and the other hooks of scored rollouts, which need it, are tried when a run begins
(recipes/checks/trial.py).
"""

import inspect
import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

from recipes.algorithms import (
    HOOKS,
    Algorithm,
    AlgorithmFileError,
    OutOfTimeError,
    algorithms,
    get_algorithm,
    name_of_shape,
    time_limit,
)
from recipes.algorithms.base import Demonstration, LossNorm, Method, Need, bare
from recipes.algorithms.hints.cut import draw_plans, odd_wrap
from recipes.algorithms.hints.schedule import MAX_SEGMENTS
from recipes.checks.option_check import OWN_NUMBERS, odd_options, odd_settings, unfit, unread_options
from recipes.common.errors import ExperimentError, nearest
from recipes.common.values import refuse_odd_metrics
from recipes.settings.alignment import Alignment
from recipes.settings.applies import mentions
from recipes.settings.declare import declared
from recipes.settings.experiment import Experiment
from recipes.settings.hook_settings import hook_settings

COURSES = (("rl",), ("sft",), ("sft", "rl"), ("alignment",))
"""Possible stages of a run (recipes/run/build_stages.py)."""

_NAME = re.compile(r"\w[\w.+-]{0,63}")
_GIVE_SOME = "let it return a list with Demonstration() in it"


def find_algorithm(algo: str) -> Algorithm:
    """The algorithm that --algo names. Raises ExperimentError if there is none or it cannot work."""
    try:
        found = get_algorithm(algo)
    except KeyError:
        names = [name for each in algorithms().values() for name in (each.name, *each.aliases)]
        if "," in algo and {*algo.split(",")} <= {*names}:
            raise ExperimentError(
                f"--algo {algo}: names several algorithms; add --sweep to run each of them, or use --pipeline "
                f"{algo} to train one after the other"
            ) from None
        if Path(algo).is_dir() or Path(f"{algo}.py").is_file():
            there = "a folder" if Path(algo).is_dir() else f"no algorithm, but {algo}.py is a file"
            raise ExperimentError(f"--algo {algo}: {there}; give your own as --algo path/mine.py") from None
        raise ExperimentError(
            f"--algo {algo}: no such algorithm{nearest(algo, names)} Known: {', '.join(algorithms())}."
        ) from None
    except AlgorithmFileError as error:
        raise ExperimentError(f"--algo {error}") from None
    if algo.endswith(".py"):
        refuse_unworkable(found, algo)
    return found


def refuse_unworkable(algorithm: Algorithm, file: str) -> None:
    """Check every field of an algorithm.

    Raises:
        ExperimentError: naming the file and the field, what is wrong and how to fix it.
    """
    for fault in _faults(algorithm, file):
        raise ExperimentError(" ".join(f"--algo {file}: {fault}".split()))


def _faults(a: Algorithm, file: str) -> Iterator[str]:
    """What is wrong. Only the first is reported; later checks may rely on earlier ones."""
    for name in ("name", "title", "paper", "equation"):
        if not isinstance(text := getattr(a, name), str) or "\n" in text:
            yield f"{name}={text!r}: must be a one-line text"
    if not _NAME.fullmatch(a.name):
        yield f"name={a.name!r}: folders are named after it; use letters, digits and . + - _, such as name='mine'"
    known = {name for each in algorithms().values() for name in (each.name, *each.aliases)}
    if not isinstance(a.aliases, tuple) or not all(
        isinstance(name, str) and _NAME.fullmatch(name) for name in a.aliases
    ):
        yield f"aliases={a.aliases!r}: must be a tuple of names, such as ('mine',)"
    if taken := [name for name in (a.name, *a.aliases) if name in known]:
        field = "name" if taken[0] == a.name else "aliases"
        yield f"{field}={getattr(a, field)!r}: {taken[0]} is an algorithm of this repository; give it another name"
    if a.stages not in COURSES:
        yield f"stages={a.stages!r}: must be one of {', '.join(map(str, COURSES))}"
    if a.method is not None and a.method not in get_args(Method):
        yield f"method={a.method!r}: must be one of {', '.join(get_args(Method))}, or None"
    if (a.method is not None) != (a.stages == ("alignment",)):
        yield f"method={a.method!r} with stages={a.stages!r}: only stages=('alignment',) has a method, and it needs one"
    if not isinstance(a.needs, set | frozenset) or not a.needs <= {*get_args(Need)}:
        yield f"needs={a.needs!r}: must be a frozenset of {', '.join(get_args(Need))}, such as frozenset({{'group'}})"
    if a.loss_norm not in get_args(LossNorm):
        yield f"loss_norm={a.loss_norm!r}: must be one of {', '.join(get_args(LossNorm))}"
    for name in ("hints_in_prompt", "policy_gradient"):
        if not isinstance(getattr(a, name), bool):
            yield f"{name}={getattr(a, name)!r}: must be True or False"
    if fault := odd_wrap(a.wrap):
        yield fault
    if type(a.demonstrations) is not int or a.demonstrations < 0:
        yield f"demonstrations={a.demonstrations!r}: must be a whole number, 0 or more"
    for name, of_alignment in OWN_NUMBERS.items():
        if why := unfit(declared(Alignment)[of_alignment], getattr(a, name)):
            yield f"{name}={getattr(a, name)!r}: {why}"
    yield from _odd_hooks(a, file)
    yield from _idle_fields(a)
    yield from odd_options(a.options)
    yield from unread_options(a)
    yield from odd_settings(a)
    if a.demonstrations and a.rollout is bare:
        yield f"demonstrations={a.demonstrations}: rollout returns none; {_GIVE_SOME}"


def _odd_hooks(a: Algorithm, file: str) -> Iterator[str]:
    optional = {each.name for each in fields(Algorithm) if each.default is None}
    for name, takes in {**HOOKS, "supervised": ("p",)}.items():
        hook, wanted = getattr(a, name), f"{name}({', '.join(takes)})"
        if hook is None and name in optional:
            continue
        if not callable(hook) or inspect.isclass(hook):
            yield f"{name}={hook!r}: must be a function {wanted}"
        if inspect.iscoroutinefunction(inspect.unwrap(hook)) or inspect.isgeneratorfunction(inspect.unwrap(hook)):
            yield f"{name}: must be a plain function {wanted}, without async or yield"
        try:
            signature = inspect.signature(hook)
        except (TypeError, ValueError):  # some functions written in C have none
            continue
        try:
            signature.bind(*takes)
        except TypeError:
            yield f"{name}{signature}: is called as {wanted}"
    if a.supervised is not None and "sft" in a.stages:
        try:
            name_of_shape(a.supervised, file)
        except AlgorithmFileError as error:
            yield f"supervised: {error}"


_OF_RL = (
    *("needs", "rollout", "weigh", "context", "remember", "loss", "demonstrations", "hints_in_prompt", "loss_norm"),
    *("policy_gradient", "wrap", "metrics", "memory_metrics"),
)


def _idle_fields(a: Algorithm) -> Iterator[str]:
    """Fields that are set but used by none of its stages."""
    usual = {each.name: each.default for each in fields(Algorithm)}
    given = [name for name, value in vars(a).items() if name in usual and value != usual[name]]
    where = {
        **dict.fromkeys(_OF_RL, ("rl",)),
        "supervised": ("sft",),
        **dict.fromkeys(("beta", "alignment_lr", "sft_ratio"), ("alignment", "sft")),
    }
    for name in given:
        stages = where.get(name)
        takes_beta = name == "beta" and a.loss is not None
        if stages and not {*stages} & {*a.stages} and not takes_beta:
            yield f"{name}: has no effect with stages={a.stages!r}; it applies to the stage {stages[0]!r}"
    if a.loss is not None and (
        idle := [name for name in ("weigh", "loss_norm", "context", "demonstrations") if name in given]
    ):
        yield f"{idle[0]}: has no effect with loss, which replaces PPO's loss and all terms; set only one of them"


# --- with the settings of a run ---------------------------------------------------------------------------------


@contextmanager
def told(algo: str, *, tried: bool = True) -> Iterator[None]:
    """Turn errors of --algo's hooks into an ExperimentError that names the file. If hooks are only `tried`, they have a
    time limit; in a run they have none."""
    try:
        with time_limit() if tried else nullcontext():
            yield
    except AlgorithmFileError as error:
        raise ExperimentError(f"--algo {error}") from error
    except (ValueError, OutOfTimeError) as error:
        raise ExperimentError(f"--algo {algo}: {error}") from error


_TRIED = 60


def steps_to_try(e: Experiment) -> list[int]:
    """Steps at which a user's hooks are tried before a start: all of a short run, a sample of a long one."""
    first = range(1, min(e.T, _TRIED) + 1)
    later = range(_TRIED, e.T, max(1, e.T // _TRIED))
    return sorted({*first, *later, *(at for at in (e.T_hint, e.T_hint + 1, e.T) if 0 < at <= e.T)})


def try_draws(e: Experiment) -> None:
    """Draw plans for a few prompts throughout the run, each twice, and call `metrics` for these steps.

    Raises:
        ValueError: naming the hook, and the line where it failed or what is wrong with its result.
    """
    algorithm, s, drawn = e.algorithm, SimpleNamespace(**hook_settings(e)), []
    before = vars(s).copy()
    for step in steps_to_try(e):
        refuse_odd_metrics(f"metrics at step {step}", algorithm.metrics(step, s))
        for texts, key in itertools.product(range(MAX_SEGMENTS + 1), "ab"):
            about: dict[str, Any] = {"step": step, "seed": e.seed, "key": key, "past": None, "common": None}
            plans, again = (draw_plans(algorithm, ["x"] * texts, s, **about) for _ in range(2))
            if plans != again:
                raise ValueError(
                    "rollout returns other plans when called again; draw from rng only, so that a resumed run repeats "
                    "them"
                )
            if vars(s) != before:
                raise ValueError("rollout or metrics changes s: all hooks share these settings; do not modify them")
            drawn += plans
    shown = any(isinstance(plan, Demonstration) for plan in drawn)
    if algorithm.demonstrations and not shown and not mentions(algorithm.rollout, "Demonstration"):
        raise ValueError(f"demonstrations={algorithm.demonstrations}: rollout returns none; {_GIVE_SOME}")


def try_with_torch(e: Experiment) -> None:
    """Try the hooks of scored rollouts of a user's file on small groups, in the trainer before it loads a model.

    Raises:
        ExperimentError: naming the file, the hook, and what is wrong.
    """
    if not e.algo.endswith(".py"):
        return
    from recipes.checks.trial import try_hooks, try_shape  # imports torch, which other commands do not need

    reference = e.kl_coef > 0 or "reference" in e.algorithm.needs
    with told(e.algo):
        if e.algorithm.supervised is not None:
            try_shape(e.algorithm.supervised, "supervised")
        if "rl" in e.stages:
            settings = SimpleNamespace(**hook_settings(e))
            try_hooks(e.algorithm, settings, reference=reference, steps=steps_to_try(e))
