"""Single values: parsed from the command line and checked against their range."""

import math
import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

Check = Callable[[Any], str]
"""Returns what is wrong with a value, as the end of a sentence; empty if valid."""

MOST = 10**9
"""More than any run needs."""

_LONGEST_NAME, _LONGEST_PATH = 255, 4000
"""Limits of file systems, in bytes."""


def text(value: str) -> str:
    """A text as typed. Raises ArgumentTypeError if it cannot be a word, name or path."""
    if not value.strip():
        raise ArgumentTypeError("an empty value; give one, or omit the flag")
    try:
        longest = max(len(part.encode()) for part in re.split("[/,]", value))
    except UnicodeEncodeError:
        raise ArgumentTypeError(f"{value!r} is not UTF-8") from None
    if longest > _LONGEST_NAME or max(map(len, value.split(","))) > _LONGEST_PATH or "\0" in value:
        raise ArgumentTypeError(f"{value[:40]!r}...: not a valid file name, or too long for one")
    return value


def whole(value: str) -> int:
    """A whole number. Raises ArgumentTypeError for any other text, with the right spelling if it can be guessed."""
    with suppress(ValueError):
        return int(value)
    with suppress(ValueError):
        if (meant := float(value)).is_integer():
            raise ArgumentTypeError(f"{value!r} is not written as a whole number; write {meant:.0f}")
    raise ArgumentTypeError(f"{value!r} is not a whole number, such as 8")


def one_seed(value: str) -> int:
    """`whole`; its error explains how to give several seeds."""
    if re.fullmatch(r"\d+([,-]\d+)+", value):
        raise ArgumentTypeError(f"{value!r} is not a whole number; several seeds are given as --sweep --seeds 0,1,2")
    return whole(value)


def real(value: str) -> float:
    """A float. Raises ArgumentTypeError as `whole` does."""
    with suppress(ValueError):
        return float(value)
    meant = value.replace(",", ".")
    with suppress(ValueError):
        float(meant)
        raise ArgumentTypeError(f"{value!r} is not written as a number; write {meant}")
    with suppress(ValueError):
        if len([float(word) for word in value.split(",")]) > 1:
            raise ArgumentTypeError(f"{value!r} is several numbers; a sweep varies only algorithms, data and seeds")
    raise ArgumentTypeError(f"{value!r} is not a number, such as 0.5 or 1e-6")


def numbers(value: str) -> list[int]:
    """Comma-separated integers."""
    words = value.split(",")
    for word in words:
        if not re.fullmatch(r"\s*-?[0-9]{1,18}\s*", word):
            raise ArgumentTypeError(f"{word!r} in {value!r} is not a whole number; write several as 0,1,2")
    return distinct([int(word) for word in words], value)


def distinct(found: list[Any], value: str) -> list[Any]:
    """Raises ArgumentTypeError for duplicates."""
    if twice := [each for each in found if found.count(each) > 1]:
        raise ArgumentTypeError(f"{twice[0]} is given twice in {value!r}")
    return found


def as_text(value: Any) -> str:
    """A value as written on a command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            what = f"invalid choice: {text!r}" if text.strip() else "an empty value"
            raise ArgumentTypeError(f"{what} (choose from {', '.join(map(repr, choices))})")
        return text

    return read


def truth(text: str) -> bool:
    found = {"true": True, "false": False}.get(text.lower())
    if found is None:
        raise ArgumentTypeError(f"{text!r} is neither true nor false")
    return found


READERS: dict[type, Callable[[str], Any]] = {
    int: whole,
    float: real,
    bool: truth,
    tuple: lambda words: tuple(distinct([text(word) for word in words.split(",")], words)),
}


def at_least(least: float, all_of: str = "", most: float = MOST) -> Check:
    """`all_of`: what -1 stands for, if allowed."""
    beside = f", or -1 for {all_of}" if all_of else ""

    def check(value: float) -> str:
        if value > most:
            return f"must be at most {most:.0f}"
        return "" if value >= least or (all_of and value == -1) else f"must be at least {least}{beside}"

    return check


def between(low: float, high: float, why: str, *, ends: bool = False) -> Check:
    """`ends`: whether the bounds themselves are allowed."""
    says = f"must be {'from' if ends else 'between'} {low} {'to' if ends else 'and'} {high}{why}"
    return lambda value: "" if low < value < high or (ends and value in (low, high)) else says


a_share = between(0, 1, "", ends=True)


def above(low: float) -> Check:
    return lambda value: "" if value > low else f"must be above {low:g}"


def not_negative(value: float, most: float = MOST) -> str:
    return "must not be negative" if value < 0 else "" if value <= most else f"must be at most {most:.0f}"


def positive(value: float) -> str:
    return "" if 0 < value <= MOST else "must be above 0" if value <= 0 else f"must be at most {MOST}"


def a_rate(value: float) -> str:
    """A learning rate; above 1 the exponent must be a mistake."""
    return positive(value) or ("" if value <= 1 else "must be at most 1")


def a_seed(value: int) -> str:
    # The range of NumPy's generators.
    return not_negative(value, 2**32 - 1)


def amiss(value: Any, check: Check | None) -> str:
    """What is wrong with a value, as the end of a sentence; empty if valid."""
    if isinstance(value, int) and abs(value) >= 2**63:
        return "has too many digits"
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number"
    if check is None or value is None:
        return ""
    try:
        found = check(value)
    except Exception as error:  # the check of a user's own option
        return f"its check fails: {type(error).__name__}: {error}"
    return (
        found
        if isinstance(found, str)
        else f"its check returns {found!r}: must be a text that says what is wrong, empty if nothing is"
    )


def wrong(name: str, value: Any, check: Check | None) -> str:
    """What is wrong with a setting's value, as a full sentence; empty if nothing is."""
    found = amiss(value, check)
    return f"--{name} {as_text(value)}: {found}" if found else ""


_METRIC = re.compile(r"[\w.@/+-]+")
TAKEN_METRICS = frozenset(
    {"context_too_long", "demonstrations", "gen_tokens", "generated", "groups_filled_up", "groups_kept", "hint_frac"}
    | {"groups_without_variance", "hint_reliance", "hint_reliance_rows", "hint_tokens", "no_demonstration"}
    | {"overlong_penalty", "overlong_share", "prompts_drawn", "rescored", "rollout_digest", "sampling_rounds"}
    | {"thrown_tokens", "truncated", "updates_without_reward_gradient"}
)
"""Names under uft/ that every run logs itself."""

TAKEN_TERMS = frozenset(
    {"entropy", "entropy_loss", "grad_norm", "kl_coef", "kl_loss", "loss", "lr", "mfu", "pg_clipfrac"}
    | {"pg_clipfrac_lower", "pg_loss", "ppo_kl"}
)
"""Names of verl's own metrics under actor/."""


def refuse_odd_metrics(what: str, found: Any) -> None:
    """Raise ValueError unless this is a dict of finite numbers with valid, free names."""
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"{what} returns {found!r}: must be a dict of numbers, such as {{'share': 0.5}}")
    for name, value in found.items():
        if not _METRIC.fullmatch(name):
            raise ValueError(f"{what} returns a metric {name!r}: use only letters, digits and _ . / - + @")
        if name in TAKEN_METRICS or name.startswith("score/"):
            raise ValueError(f"{what} returns a metric {name!r}: every run logs uft/{name} itself; rename it")
        if not isinstance(value, int | float) or not math.isfinite(value):
            wrap = f"; write float({name})" if hasattr(value, "item") else ""
            raise ValueError(f"{what} returns {name}={value!r}: must be a finite number{wrap}")
