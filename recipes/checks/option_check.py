"""Faults of an algorithm's own options and of the settings it chooses."""

import difflib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from types import SimpleNamespace
from typing import Any

from recipes.algorithms import HOOKS, Algorithm, in_one_line
from recipes.common.errors import nearest
from recipes.common.values import amiss
from recipes.settings.applies import mentions
from recipes.settings.declare import Setting, by_name, declared
from recipes.settings.experiment import Experiment

OPTIONS = (bool, int, float, str)
"""Types of options: those that flags, experiment.yaml and messages to workers can carry."""
_CHOSEN_BEFORE = ("algo", "data", "model", "reward")
"""Settings that are read before an algorithm's own."""

OWN_NUMBERS = {"beta": "beta", "alignment_lr": "lr", "sft_ratio": "sft_ratio"}
"""Fields of an algorithm that set defaults of alignment settings."""


_METADATA: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("check", callable, "a function of the value that returns what is wrong with it, a text"),
    ("help", lambda text: isinstance(text, str), "a text"),
    ("choices", lambda all: isinstance(all, tuple | list) and {str} == {*map(type, all)}, "a tuple of texts"),
)
"""Keys of an option's metadata, whether a value is valid, and what a valid value is."""


def odd_options(options: Any) -> Iterator[str]:
    """Options without a type or a valid default, with a flag's name, or with unknown metadata."""
    if options is None:
        return
    if not (inspect.isclass(options) and is_dataclass(options)):
        yield f"options={options!r}: must be a @dataclass class with fields such as gate: float = 0.5"
    try:
        defaults = options()
    except Exception as error:
        yield f"all fields of options need defaults: {in_one_line(error)}"
    for name, value in vars(options).items():
        if not name.startswith("_") and name not in options.__annotations__ and type(value) in OPTIONS:
            yield f"its option {name!r} has no type and is ignored: write {name}: {type(value).__name__} = {value!r}"
    # Imported here, as parsing flags includes an algorithm's options.
    from recipes.settings.modes import PARTS

    known = {name: each for part in PARTS for name, each in declared(part).items()}
    taken = {*known, *by_name(known), "help", "response_length"}
    for each in fields(options):
        name, value, said = each.name, getattr(defaults, each.name), str(getattr(each.type, "__name__", each.type))
        if name in taken:
            yield f"its option {name!r} is a flag of every run; rename it"
        if type(value) not in OPTIONS:
            yield f"its option {name!r}: the default {value!r} has an unsupported type; use a bool, int, float or str"
        if isinstance(value, float) and not math.isfinite(value):
            yield f"its option {name!r}: the default {value} must be a finite number"
        for about, is_fit, wanted in _METADATA:
            if about in each.metadata and not is_fit(each.metadata[about]):
                yield f"its option {name!r}: {about}={each.metadata[about]!r}: must be {wanted}"
        for word in each.metadata.keys() - {about for about, _, _ in _METADATA}:
            near = nearest(str(word), [about for about, _, _ in _METADATA])
            yield f"its option {name!r}: metadata has {word!r}, which nothing reads{near}"
        if (choices := each.metadata.get("choices")) and value not in choices:
            yield f"its option {name!r}: the default {value!r}: must be one of {', '.join(choices)}"
        if why := amiss(value, each.metadata.get("check")):
            yield f"its option {name!r}: the default {value!r}: {why}"
        if said in {kind.__name__ for kind in OPTIONS} - {type(value).__name__, *(("float",) * (type(value) is int))}:
            yield f"its option {name!r}: is declared as {said}, but its default is {value!r}"


_NO_CODE = SimpleNamespace(co_names=())


def unread_options(a: Algorithm) -> Iterator[str]:
    """Options that no hook reads."""
    hooks = [hook for name in HOOKS if (hook := getattr(a, name)) is not None]
    for each in fields(a.options) if a.options is not None else ():
        if not any(mentions(hook, each.name) for hook in hooks):
            words = [word for hook in hooks for word in getattr(inspect.unwrap(hook), "__code__", _NO_CODE).co_names]
            near = difflib.get_close_matches(each.name, words, n=1)
            instead = f"; one reads s.{near[0]}" if near else ""
            yield f"its option {each.name!r}: no hook reads s.{each.name}{instead}"


def odd_settings(a: Algorithm) -> Iterator[str]:
    """Settings that are no flags, have no effect, or whose value is invalid."""
    if not isinstance(a.settings, Mapping):
        yield f"settings={a.settings!r}: must be a dict of flags and their defaults, such as {{'kl_coef': 0.0}}"
    known = {name: each for name, each in declared(Experiment).items() if each.flag and name not in _CHOSEN_BEFORE}
    own = [each.name for each in fields(a.options)] if a.options is not None else []
    for name, value in a.settings.items():
        if name in own:
            yield f"settings: {name!r} is one of its options; set the default there"
        elif name in OWN_NUMBERS.values() and name not in known:
            yield f"settings: {name!r} is a field of Algorithm; write {name}={value!r} there"
        elif name not in known:
            yield f"settings: {name!r} is not a flag whose default it can set{nearest(str(name), known)}"
        elif why := unfit(known[name], value):
            yield f"settings: {name}={value!r}: {why}"
        elif not known[name].applies(a, a.stages):
            yield f"settings: {name!r} has no effect on it; it applies to {known[name].applies.__doc__}"


def unfit(setting: Setting, value: Any) -> str:
    """Why a value is invalid for a setting; empty if it is valid."""
    if setting.choices:
        return "" if value in setting.choices else f"must be one of {', '.join(setting.choices)}"
    kinds = (int, float) if setting.kind is float else (setting.kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and setting.kind is not bool):
        return f"must be {'a number' if setting.kind is float else f'of type {setting.kind.__name__}'}"
    if isinstance(value, tuple) and not all(isinstance(each, str) for each in value):
        return "must be a tuple of strings"
    return amiss(value, setting.check)
