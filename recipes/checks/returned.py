"""Refusals of what an algorithm's hooks return: messages and weights."""

import math
import re
from collections.abc import Mapping
from typing import Any, get_args

import torch

from recipes.algorithms.base import Group, Term, TermNorm, Weights
from recipes.common.values import TAKEN_TERMS, refuse_odd_metrics

_NAME = re.compile(r"\w+")

ROLES = ("system", "user", "assistant", "tool")
"""Roles of messages."""


def refuse_odd_messages(found: Any) -> None:
    """Raise ValueError for an invalid result of `context`."""
    if found is None:
        return
    if not (isinstance(found, list | tuple) and found and all(map(_is_message, found))):
        raise ValueError(
            f"context returns {short(found)}: must be a list of messages, "
            "such as [{'role': 'user', 'content': 'What is 1 + 1?'}], or None"
        )
    if odd := [each["role"] for each in found if each["role"] not in ROLES]:
        raise ValueError(f"context returns a message with role {odd[0]!r}: must be one of {', '.join(ROLES)}")
    if found[-1]["role"] != "user":
        raise ValueError(f"context ends with a message with role {found[-1]['role']!r}: must be 'user'")


def _is_message(message: Any) -> bool:
    return isinstance(message, Mapping) and all(isinstance(message.get(name), str) for name in ("role", "content"))


def refuse_odd_weights(found: Any, group: Group) -> None:
    """Raise ValueError for an invalid result of `weigh`."""
    if not isinstance(found, Weights):
        raise ValueError(f"weigh returns {short(found)}: must be Weights(...)")
    refuse_odd_metrics("weigh: metrics", found.metrics)
    shape = tuple(group.old.shape)
    if found.advantage is not None:
        refuse_odd_tensor("weigh: advantage", found.advantage, shape)
        if not found.advantage.is_floating_point():
            raise ValueError(f"weigh: advantage has dtype {found.advantage.dtype}: must be a floating-point type")
    if found.mask is not None:
        refuse_odd_tensor("weigh: mask", found.mask, shape)
        if found.mask.dtype is not torch.bool:
            raise ValueError(f"weigh: mask has dtype {found.mask.dtype}: must be torch.bool")
    if not isinstance(found.terms, tuple) or not all(isinstance(term, Term) for term in found.terms):
        raise ValueError(f"weigh: terms={short(found.terms)}: must be a tuple of Term(...), such as (Term(...),)")
    for term in found.terms:
        for name, values in {"weights": term.weights, **({} if term.over is None else {"over": term.over})}.items():
            what = f"weigh: {name} of the term {term.name!r}"
            refuse_odd_tensor(what, values, shape)
            # If counted, they would make N depend on the longest rollout.
            if bool((values[group.ok] != 0)[~(group.given | group.gen | group.demo)[group.ok]].any()):
                raise ValueError(f"{what} are not 0 at padding: multiply by group.gen, group.given or group.demo")
        if isinstance(term.coef, bool) or not isinstance(term.coef, int | float) or not math.isfinite(term.coef):
            wrap = ", the same for all prompts: write float(...), or move it into the weights"
            raise ValueError(
                f"weigh: coef={short(term.coef)} of the term {term.name!r}: must be a finite number"
                f"{wrap if hasattr(term.coef, 'item') else ''}"
            )
        if term.norm not in get_args(TermNorm):
            raise ValueError(
                f"weigh: norm={term.norm!r} of the term {term.name!r}: must be one of {', '.join(get_args(TermNorm))}"
            )
    names = [term.name for term in found.terms]
    if len({*names}) < len(names) or not all(isinstance(name, str) and _NAME.fullmatch(name) for name in names):
        raise ValueError(f"weigh: terms named {names}: each needs a unique name of letters, digits and _")
    if taken := [name for name in names if name in TAKEN_TERMS]:
        raise ValueError(f"weigh: a term named {taken[0]!r}: verl logs actor/{taken[0]} itself; rename it")


def refuse_odd_tensor(what: str, values: Any, shape: tuple[int, ...], *, learns: bool = False) -> None:
    """Raise ValueError unless a value is a dense, finite tensor of a shape on the CPU, without gradient."""
    if not isinstance(values, torch.Tensor) or tuple(values.shape) != shape:
        is_ = f"a tensor of shape {tuple(values.shape)}" if isinstance(values, torch.Tensor) else short(values)
        raise ValueError(f"{what} is {is_}: must be a tensor of shape {shape}")
    odd = ["complex"] * values.is_complex() + ["sparse"] * (values.layout is not torch.strided)
    if odd or values.device.type != "cpu" or (values.requires_grad and not learns):
        is_ = odd[0] if odd else "part of a graph" if values.requires_grad else f"on the device {values.device.type}"
        raise ValueError(
            f"{what} is {is_}: must be a dense real tensor on the CPU{'' if learns else ' without gradient'}"
        )
    if not bool(values.isfinite().all()):
        raise ValueError(f"{what} has values that are not finite")


def short(value: Any) -> str:
    """A value for a message."""
    if value is None:
        return "None (is there a return?)"
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:76]} ..."
