"""What hooks of scored rollouts may give back, and a trial of a user's on two prompts made by hand, before a run has
loaded a model or drawn a rollout."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

import torch

from recipes.algorithms import AlgorithmFileError, in_one_line, name_of_shape
from recipes.algorithms.base import Algorithm, Demonstration, Group, Hint, Plan, Rows, Term, TermNorm, Weights
from recipes.algorithms.hints.cut import draw_plans
from recipes.algorithms.hints.schedule import MAX_SEGMENTS
from recipes.algorithms.losses.terms import streams
from recipes.common.values import refuse_odd_metrics

KEY = "0123456789abcdef"
"""Of the prompts of the trial."""

_NAME = re.compile(r"\w+")

_TEXTS = ["It is 2. "] * MAX_SEGMENTS
_STEPS = 3


def try_hooks(algorithm: Algorithm, s: Any, *, reference: bool) -> None:
    """Ask every hook as the trainer does, for a few steps of a prompt; after each the next draw knows what is kept.

    Args:
        reference: whether the run has log-probabilities of a reference model.

    Raises:
        ValueError: names the hook, and what is wrong with what it gave or the line where it failed.
    """
    past, common = None, None
    for step in range(1, _STEPS + 1):
        plans = draw_plans(algorithm, _TEXTS, s, step=step, seed=0, key=KEY, past=past, common=common)
        plans = plans * s.n_rollout if len(plans) == 1 else plans
        right, wrong = (_group(plans, s, step, reference, algorithm, solved=solved) for solved in (True, False))
        groups = [_rescored(algorithm, group, s) for group in (right, wrong)]
        if algorithm.loss is not None:
            _try_loss(algorithm.loss, groups[0], s)
        else:
            weighed = [_weighed(algorithm, group, s) for group in groups]
            streams(groups, weighed, updates=1, votes=len(plans), length=s.response_length)
        past, common = _kept(algorithm, groups[step % 2], past, common, s)
        refuse_odd_metrics("memory_metrics", algorithm.memory_metrics({} if past is None else {KEY: past}, common, s))


def _group(plans: list[Plan], s: Any, step: int, reference: bool, algorithm: Algorithm, *, solved: bool) -> Group:
    """Rollouts of two given and three generated tokens; the verdict on the first has failed, and of the others every
    second one is right, or none."""
    n, length = len(plans), 6
    place = torch.arange(length).expand(n, length)
    shown = torch.tensor([isinstance(plan, Demonstration) for plan in plans]).unsqueeze(-1)
    starts = [2 * (isinstance(plan, Hint) and plan.where == "response") for plan in plans]
    first = torch.tensor(starts).unsqueeze(-1)
    ok = torch.arange(n) > 0 if n > 1 else torch.ones(n, dtype=torch.bool)
    ok = ok | shown[:, 0]
    heard = ok.unsqueeze(-1) & ~shown
    scores = (torch.arange(n) % 2).float() if solved else torch.zeros(n)
    return Group(
        scores=torch.where(shown[:, 0], torch.ones(n), scores) * ok,
        ok=ok,
        plans=tuple(plans),
        given=(place < first) & heard,
        gen=(place >= first) & (place < first + 3) & heard,
        demo=(place < 4) & shown,
        old=torch.full((n, length), -0.5),
        key=KEY,
        step=step,
        ref=torch.full((n, length), -0.7) if reference else None,
        segments=MAX_SEGMENTS,
        entropy=torch.ones(n, length),
        messages=[{"role": "user", "content": "What is 1 + 1?"}],
        solution="".join(_TEXTS),
        texts=("It is 2.",) * n if algorithm.context is not None else (),
    )


def _weighed(algorithm: Algorithm, group: Group, s: Any) -> Weights:
    """What `weigh` gives, asked twice, of a group and settings that it leaves as they are."""
    settings, tensors = vars(s).copy(), {name: each.clone() for name, each in _tensors(group).items()}
    found, again = (algorithm.weigh(group, s) for _ in range(2))
    refuse_odd_weights(found, group)
    if vars(s) != settings:
        raise ValueError("weigh changes s: these are the settings of all hooks; leave them as they are")
    changed = [name for name, each in _tensors(group).items() if not torch.equal(each, tensors[name])]
    if changed:
        raise ValueError(f"weigh changes group.{changed[0]}, which others read after it: work on a copy")
    if not _same(found, again):
        raise ValueError("weigh gives other weights when it is asked again: a resumed run could not repeat them")
    for term in found.terms:
        if term.shape is not None:
            try_shape(term.shape, f"weigh: shape of the term {term.name!r}")
    return found


def _same(one: Weights, other: Weights) -> bool:
    def alike(a: Any, b: Any) -> bool:
        known, found = _tensors(a), _tensors(b)
        return known.keys() == found.keys() and all(torch.equal(known[name], found[name]) for name in known)

    terms = len(one.terms) == len(other.terms) and all(map(alike, one.terms, other.terms))
    return terms and alike(one, other) and one.metrics == other.metrics


def try_shape(shape: Any, what: str) -> None:
    """Raise ValueError unless it makes of every probability a factor."""
    try:
        name_of_shape(shape, "")
    except AlgorithmFileError as error:
        raise ValueError(str(error)) from None
    # From almost 0 to 1: both occur, 1 where a model is sure.
    p = torch.linspace(0.0, 1.0, 12).clamp(min=1e-6).reshape(3, 4)
    given = p.clone()
    try:
        found, of_some = shape(given), shape(given[1:])
    except Exception as error:  # whatever a user's function raises
        raise ValueError(f"{what}: {in_one_line(error)}") from error
    if not torch.equal(given, p):
        raise ValueError(f"{what} changes the probabilities it is given: make new ones")
    _refuse_odd_tensor(what, found, (3, 4))
    # Of each by itself: a mean over the tokens would make one what its neighbours are.
    if not torch.allclose(found[1:], of_some):
        raise ValueError(f"{what} makes of a probability what depends on others: must be elementwise")


def _tensors(of: Any) -> dict[str, torch.Tensor]:
    return {name: value for name, value in vars(of).items() if isinstance(value, torch.Tensor)}


def _rescored(algorithm: Algorithm, group: Group, s: Any) -> Group:
    if algorithm.context is None:
        return group
    for row in range(len(group.plans)):
        found = algorithm.context(row, group, s) if group.ok[row] else None
        if found is not None and not (isinstance(found, list | tuple) and found and all(map(_is_message, found))):
            raise ValueError(
                f"context gives {_short(found)}: must be a list of messages, "
                "such as [{'role': 'user', 'content': 'What is 1 + 1?'}], or None"
            )
    return replace(group, rescored=group.old.clone())


def _is_message(message: Any) -> bool:
    return isinstance(message, Mapping) and all(isinstance(message.get(name), str) for name in ("role", "content"))


def _try_loss(loss: Any, group: Group, s: Any) -> None:
    votes = group.ok
    log_probs = group.old[votes].requires_grad_()
    ref = None if group.ref is None else group.ref[votes]
    found = loss(log_probs, Rows(group.scores[votes], group.gen[votes], ref), s)
    if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], Mapping)):
        raise ValueError(f"loss gives {_short(found)}: must be (losses, metrics), losses one number a rollout")
    n = len(log_probs)
    for name, values in {"losses": found[0], **found[1]}.items():
        _refuse_odd_tensor(f"loss: {name}", values, (n,))
    if not found[0].requires_grad:
        raise ValueError("loss gives losses that do not depend on log_probs: nothing would be learnt")
    (gradient,) = torch.autograd.grad(found[0].sum(), log_probs)
    if not bool(gradient.isfinite().all()):
        raise ValueError("loss gives losses whose gradient has values that are no finite numbers")


def refuse_odd_weights(found: Any, group: Group) -> None:
    """Raise ValueError for what `weigh` may not give."""
    if not isinstance(found, Weights):
        raise ValueError(f"weigh gives {_short(found)}: must be Weights(...)")
    refuse_odd_metrics("weigh: metrics", found.metrics)
    shape = tuple(group.old.shape)
    if found.advantage is not None:
        _refuse_odd_tensor("weigh: advantage", found.advantage, shape)
        if not found.advantage.is_floating_point():
            raise ValueError(f"weigh: advantage is of {found.advantage.dtype}: must be of floating point numbers")
    if found.mask is not None:
        _refuse_odd_tensor("weigh: mask", found.mask, shape)
        if found.mask.dtype is not torch.bool:
            raise ValueError(f"weigh: mask is of {found.mask.dtype}: must be of torch.bool")
    if not isinstance(found.terms, tuple) or not all(isinstance(term, Term) for term in found.terms):
        raise ValueError(f"weigh: terms={_short(found.terms)}: must be a tuple of Term(...), such as (Term(...),)")
    for term in found.terms:
        _refuse_odd_tensor(f"weigh: weights of the term {term.name!r}", term.weights, shape)
        if isinstance(term.coef, bool) or not isinstance(term.coef, int | float) or not math.isfinite(term.coef):
            raise ValueError(f"weigh: coef={_short(term.coef)} of the term {term.name!r}: must be a finite number")
        if term.norm not in get_args(TermNorm):
            raise ValueError(
                f"weigh: norm={term.norm!r} of the term {term.name!r}: must be one of {', '.join(get_args(TermNorm))}"
            )
    names = [term.name for term in found.terms]
    if len({*names}) < len(names) or not all(isinstance(name, str) and _NAME.fullmatch(name) for name in names):
        raise ValueError(f"weigh: terms named {names}: every one needs a name of its own, a word as of a variable")


def _refuse_odd_tensor(what: str, values: Any, shape: tuple[int, ...]) -> None:
    if not isinstance(values, torch.Tensor) or tuple(values.shape) != shape:
        is_ = f"a tensor of shape {tuple(values.shape)}" if isinstance(values, torch.Tensor) else _short(values)
        raise ValueError(f"{what} is {is_}: must be a tensor of shape {shape}")
    if not bool(values.isfinite().all()):
        raise ValueError(f"{what} has values that are no finite numbers")


def _kept(algorithm: Algorithm, group: Group, past: Any, common: Any, s: Any) -> tuple[Any, Any]:
    """What is remembered, as it comes back from a checkpoint."""
    found = algorithm.remember(group, past, common, s)
    if not isinstance(found, tuple) or len(found) != 3 or isinstance(found[2], str):
        raise ValueError(f"remember gives {_short(found)}: must be (past, common, keys of what is due)")
    try:
        past, common = json.loads(json.dumps(found[:2]))
    except (TypeError, ValueError) as error:
        raise ValueError(f"remember gives what a checkpoint cannot hold: {error}") from None
    if odd := [key for key in found[2] if key != KEY]:
        raise ValueError(f"remember: {_short(odd[0])} is due, which is the key of no prompt it was given")
    return past, common


def _short(value: Any) -> str:
    if value is None:
        return "None (is there a return?)"
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:76]} ..."
