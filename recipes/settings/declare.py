"""Declaring a setting: once, as a dataclass field with its help below it. Flags, --help, YAML, checks of single values
and docs/flags.md are derived from it (recipes/flags/parser.py lists all of them)."""

import ast
import inspect
import textwrap
import typing
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal

from recipes.common.values import READERS, Check, amiss, as_text, one_of, text, truth
from recipes.settings.applies import Applies, everywhere

GROUPS = (
    "run",
    "reinforcement",
    "hints",
    "supervised learning",
    "alignment and sft on instructions",
    "data and reward",
    "generated problems",
    "prompts and lengths",
    "adapters",
    "machine",
    "validation, checkpoints, records",
    "reward failures",
    "evaluation (--eval)",
    "several runs (docs/sweeps.md)",
)
"""Headings of --help, in order; algorithm options come last."""


class From(Enum):
    """Source of a default that is not a constant."""

    MACHINE = "by profile"
    TASK = "by --data"
    ALGORITHM = "by --algo"
    OTHERS = "by other settings"


ABSENT = object()
"""For a setting that every experiment.yaml contains."""


@dataclass(frozen=True)
class Setting:
    """A declared setting."""

    name: str
    """Name of the field; -- followed by it is the flag."""

    help: str
    """One line for --help."""

    read: Callable[[str], Any]
    """Parses text; raises ArgumentTypeError."""

    kind: type
    """Type of its values."""

    group: str
    """Heading in --help."""

    default: Any
    """A constant, or From."""

    choices: tuple[str, ...] = ()
    """Allowed values, if they can be listed."""

    metavar: str = ""
    """Placeholder of the value in --help."""

    spelling: str = ""
    """The flag, if it differs from the name; the parser treats - and _ alike."""

    aliases: tuple[str, ...] = ()
    """Other names of the flag."""

    applies: Applies = everywhere
    """Whether it has an effect on an algorithm with these stages."""

    check: Check | None = None
    """Checks the value by itself."""

    flag: bool = True
    """False: derived from other settings."""

    bare: Any = None
    """Value of the flag when none is given; None: a value is required."""

    switch: bool = False
    """The flag takes no value."""

    evaluates: bool = False
    """Affects --eval."""

    may_change: bool = False
    """A run can be resumed with another value: finished steps do not depend on it."""

    absent: Any = ABSENT
    """Value implied by an experiment.yaml older than this setting."""


def setting(group: str = "", default: Any = From.OTHERS, **also: Any) -> Any:
    """A field that declares a setting; without a group it has no flag. `also`: other fields of Setting."""
    declared = {"group": group, "default": default, "flag": bool(group), **also}
    absent = also.get("absent", ABSENT)
    metadata = {"setting": declared}
    return field(metadata=metadata) if absent is ABSENT else field(default_factory=lambda: absent, metadata=metadata)


@cache
def declared(cls: type) -> dict[str, Setting]:
    """The settings a dataclass declares, by name, in order."""
    told = _docstrings(cls)
    hints = typing.get_type_hints(cls)
    found = {}
    for each in fields(cls):
        about = each.metadata.get("setting")
        if about is not None:
            kind, choices = _kind(hints[each.name])
            found[each.name] = _setting(each.name, kind, told.get(each.name, ""), choices, about)
    return found


@cache
def options_of(name: str, options: type | None) -> dict[str, Setting]:
    """An algorithm's own settings; `options` is its dataclass."""
    if options is None:
        return {}
    told = _docstrings(options)
    found = {}
    for each in fields(options):
        default = getattr(options(), each.name)
        about = {"group": f"options of --algo {name}", "default": default}
        help_ = each.metadata.get("help") or told.get(each.name, "")
        # coef: float = 1 also accepts .5.
        kind = float if type(default) is int and each.type in (float, "float") else type(default)
        about["check"] = each.metadata.get("check")
        found[each.name] = _setting(each.name, kind, help_, tuple(each.metadata.get("choices", ())), about)
    return found


def _setting(name: str, kind: type, help_: str, choices: tuple[str, ...], about: Mapping[str, Any]) -> Setting:
    about = {"choices": choices, "kind": kind, "spelling": name, **about}
    kind = about["kind"]
    if kind is bool:
        about = {"bare": True, **about}
    usual = {int: "N", float: "X", tuple: "A,B", bool: "true|false"}.get(kind, "TEXT")
    metavar = "{" + ",".join(about["choices"]) + "}" if about["choices"] else usual
    usual_read = str if about["default"] == "" else READERS.get(kind, text)
    read = one_of(about["choices"]) if about["choices"] else usual_read
    return Setting(**{"name": name, "help": help_, "metavar": metavar, "read": read, **about})


def _kind(annotation: Any) -> tuple[type, tuple[str, ...]]:
    """(type, choices) of a field."""
    if typing.get_origin(annotation) in (UnionType, typing.Union):
        (annotation,) = (each for each in typing.get_args(annotation) if each is not NoneType)
    if typing.get_origin(annotation) is Literal:
        return str, typing.get_args(annotation)
    return typing.get_origin(annotation) or annotation, ()


def by_name(known: Mapping[str, Setting]) -> dict[str, Setting]:
    """Settings by name and alias."""
    return {name: each for each in known.values() for name in (each.name, *each.aliases)}


def canonical(name: str) -> str:
    """A flag's declared name, with _ for -."""
    return name.replace("-", "_")


def from_plain(setting: Setting, value: Any) -> Any:
    """A YAML value as the flag would parse it; None for a switch that is off.

    Raises:
        ValueError: says what is wrong with the value.
    """
    if value is None:
        raise ValueError("has no value; give one or remove the key")
    if value is False and setting.bare is not None and setting.kind is not bool:
        return None
    if value is True and setting.bare is not None:
        return setting.bare
    if isinstance(value, int | float) and not isinstance(value, bool) and setting.kind is float:
        # Keep integers as they are: run names depend on them.
        found = value
    else:
        found = _read_plain(setting, value)
    if why := amiss(found, setting.check):
        raise ValueError(f"{as_text(found)} {why}")
    return found


def _read_plain(setting: Setting, value: Any) -> Any:
    many = setting.kind is tuple or "," in setting.metavar
    parts = value if isinstance(value, list | tuple) else [value]
    odd = [each for each in parts if not isinstance(each, str | int | float | date)]
    if odd or (parts is value and not many) or (setting.kind is str and any(isinstance(each, bool) for each in parts)):
        wanted = "a list" if many else {int: "a number", float: "a number", bool: "true or false"}.get(setting.kind)
        raise ValueError(f"must be {wanted or 'text (in quotes, if it looks like anything else)'}, not {value!r}")
    plain = as_text(value)
    try:
        return truth(plain) if setting.switch else setting.read(plain)
    except ArgumentTypeError as error:
        raise ValueError(str(error)) from None


def _docstrings(cls: type) -> dict[str, str]:
    """The docstring below each field of a class, on one line."""
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    except (OSError, TypeError, SyntaxError):
        return {}
    assert isinstance(body, ast.ClassDef)
    found = {}
    for before, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and isinstance(after, ast.Expr):
            text = ast.literal_eval(after.value) if isinstance(after.value, ast.Constant) else ""
            found[before.target.id] = " ".join(str(text).split())
    return found
