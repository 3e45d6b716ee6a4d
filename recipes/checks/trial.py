"""Checks what hooks of scored rollouts return, and tries a user's hooks on made-up prompts before a run loads a model
or draws a rollout."""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from recipes.algorithms import HOOKS, AlgorithmFileError, in_one_line, name_of_shape
from recipes.algorithms.base import Algorithm, Bare, Demonstration, Group, Hint, Plan, Rows, Weights
from recipes.algorithms.hints.cut import draw_plans
from recipes.algorithms.hints.schedule import MAX_SEGMENTS
from recipes.algorithms.losses.terms import streams
from recipes.checks.returned import refuse_odd_messages, refuse_odd_tensor, refuse_odd_weights, short
from recipes.common.values import TAKEN_TERMS, refuse_odd_metrics

KEY = "0123456789abcdef"
"""Key of the trial's prompts."""

_TEXT = "It is 2. "


def try_hooks(algorithm: Algorithm, s: Any, *, reference: bool, steps: Sequence[int] = (1, 2, 3)) -> None:
    """Call every hook as the trainer does, for some steps of a prompt, carrying its memory from step to step.

    Args:
        reference: whether the run has log-probabilities of a reference model.

    Raises:
        ValueError: naming the hook, and what is wrong with its result or the line where it failed.
    """
    past, common = None, None
    learns = algorithm.loss is not None
    for step in steps:
        texts = [_TEXT] * (1 + step % MAX_SEGMENTS)
        about = {"s": s, "step": step, "seed": 0, "key": KEY, "past": past, "common": common}
        plans = _asked("rollout", partial(draw_plans, algorithm, texts), **about)
        plans = plans * s.n_rollout if len(plans) == 1 else plans
        # Some right, none, all; and a prompt without a solution.
        cases = [(plans, 0.5), (plans, 0.0), (plans, 1.0), ([Bare()] * len(plans), 0.5)]
        groups = [
            _rescored(algorithm, _group(drawn, s, step, reference, algorithm, right), s) for drawn, right in cases
        ]
        if algorithm.loss is not None:
            _try_loss(algorithm.loss, groups, s)
        else:
            weighed = [_weighed(algorithm, group, s) for group in groups]
            streams(groups, weighed, updates=1, votes=len(plans), length=s.response_length)
            learns |= any(each.mask is None or bool(each.mask.any()) or _in_terms(each) for each in weighed)
            compared = "critic" not in algorithm.needs and any(each.advantage is None for each in weighed)
            if compared and s.n_rollout == 1:
                raise ValueError(
                    "--n_rollout 1: without an advantage from weigh, rewards are compared with those of the prompt's "
                    "other rollouts, of which there are none; use 2 or more"
                )
        past, common = _kept(algorithm, groups[step % 2], past, common, s)
        all_past = {} if past is None else {KEY: past}
        found = _asked("memory_metrics", algorithm.memory_metrics, all_past, common, s)
        refuse_odd_metrics("memory_metrics", found)
    if not learns:
        raise ValueError(
            "weigh masks every token of all tested groups, and no term has a weight: nothing would be learned"
        )


def _in_terms(weights: Weights) -> bool:
    return any(term.coef != 0 and bool(term.weights.any()) for term in weights.terms)


def _group(plans: list[Plan], s: Any, step: int, reference: bool, algorithm: Algorithm, right: float) -> Group:
    """Rollouts of two given and three generated tokens; the first one's verdict failed, and all (right 1), every second
    (.5) or none (0) of the others are right."""
    n, length = len(plans), 6 + step % 3
    place = torch.arange(length).expand(n, length)
    shown = torch.tensor([isinstance(plan, Demonstration) for plan in plans]).unsqueeze(-1)
    starts = [2 * (isinstance(plan, Hint) and plan.where == "response") for plan in plans]
    first = torch.tensor(starts).unsqueeze(-1)
    ok = torch.arange(n) >= int((~shown).sum() > 1)
    ok = ok | shown[:, 0]
    heard = ok.unsqueeze(-1) & ~shown
    scores = (torch.arange(n) % 2 > 1 - 2 * right).float() if right < 1 else torch.ones(n)
    texts = 1 + step % MAX_SEGMENTS
    solved = any(not isinstance(plan, Bare) for plan in plans) or not algorithm.uses_hints
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
        segments=texts * solved,
        entropy=torch.full((n, length), 1.0 + right),
        messages=[{"role": "user", "content": "What is 1 + 1?"}],
        solution=_TEXT * texts * solved,
        texts=("It is 2.",) * n if algorithm.context is not None else (),
    )


def _weighed(algorithm: Algorithm, group: Group, s: Any) -> Weights:
    found: Weights = _asked("weigh", algorithm.weigh, group, s, fits=partial(refuse_odd_weights, group=group))
    if not algorithm.policy_gradient and found.advantage is not None and bool(found.advantage.any()):
        raise ValueError("weigh returns an advantage, but policy_gradient=False says there is none; remove one of them")
    for term in found.terms:
        if term.shape is not None:
            try_shape(term.shape, f"weigh: shape of the term {term.name!r}")
    return found


def _asked(
    hook: str, ask: Callable[..., Any], *about: Any, fits: Callable[[Any], None] | None = None, **named: Any
) -> Any:
    """The result of a hook, called twice; `fits` raises for invalid results.

    Raises:
        ValueError: naming the hook, if it changed its arguments or returned something else the second time.
    """
    given = {**dict(zip(HOOKS[hook], about, strict=False)), **named}
    before = copy.deepcopy(given)
    found = ask(*about, **named)
    if fits is not None:
        fits(found)
    again = ask(*about, **named)
    if changed := next((name for name in given if _difference(given[name], before[name], name)), None):
        where = _difference(given[changed], before[changed], changed)
        why = "all hooks share these settings; do not modify them"
        raise ValueError(
            f"{hook} changes s: {why}" if changed == "s" else f"{hook} changes {where}: others read it; work on a copy"
        )
    if _difference(found, again, "it"):
        raise ValueError(f"{hook} returns something else when called again: a resumed run could not repeat it")
    return found


def _difference(one: Any, other: Any, name: str) -> str:
    """Where two values differ ("group.old", "past['tries'][0]"); empty if they are equal."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        same = one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())
        return "" if same else name
    if type(one) is not type(other):
        return name
    if callable(one):  # a shape
        return "" if getattr(one, "__qualname__", one) == getattr(other, "__qualname__", other) else name
    if isinstance(one, dict):
        parts = [(f"{name}[{key!r}]", one.get(key), other.get(key)) for key in {**one, **other}]
    elif isinstance(one, list | tuple):
        parts = [(f"{name}[{place}]", *pair) for place, pair in enumerate(zip(one, other, strict=False))]
    elif hasattr(one, "__dict__"):
        parts = [(f"{name}.{field}", value, vars(other).get(field)) for field, value in vars(one).items()]
    else:
        return "" if one == other or repr(one) == repr(other) else name  # nan
    found = next((where for part, a, b in parts if (where := _difference(a, b, part))), "")
    return found or (name if hasattr(one, "__len__") and len(one) != len(other) else "")


def try_shape(shape: Any, what: str) -> None:
    """Raise ValueError unless it maps every probability to a factor, elementwise."""
    try:
        name_of_shape(shape, "")
    except AlgorithmFileError as error:
        raise ValueError(str(error)) from None
    # From almost 0 to 1, which occurs when a model is certain.
    p = torch.linspace(0.0, 1.0, 12).clamp(min=1e-6).reshape(3, 4)
    given = p.clone()
    try:
        found, of_some, of_later = shape(given), shape(given[1:]), shape(given[:, 1:])
    except Exception as error:  # whatever a user's function raises
        raise ValueError(f"{what}: {in_one_line(error)}") from error
    if not torch.equal(given, p):
        raise ValueError(f"{what} changes the probabilities it is given: return new ones")
    refuse_odd_tensor(what, found, (3, 4))
    # A mean over tokens, say, would make a factor depend on its neighbours.
    if not (torch.allclose(found[1:], of_some) and torch.allclose(found[:, 1:], of_later)):
        raise ValueError(f"{what}: the result for a probability depends on others: must be elementwise")


def _rescored(algorithm: Algorithm, group: Group, s: Any) -> Group:
    context = algorithm.context
    if context is None:
        return group
    for row in [row for row in range(len(group.plans)) if group.ok[row]]:
        refuse_odd_messages(_asked("context", context, row, group, s))
    return replace(group, rescored=group.old.clone())


def _try_loss(loss: Any, groups: list[Group], s: Any) -> None:
    """Try `loss` on rows of which every second is right, so that a loss that uses scores can learn."""
    votes = torch.cat([group.ok for group in groups])
    log_probs, gen = (torch.cat([getattr(group, name) for group in groups])[votes] for name in ("old", "gen"))
    ref = None if groups[0].ref is None else torch.cat([group.ref for group in groups if group.ref is not None])[votes]
    n = len(log_probs)
    log_probs = log_probs * torch.linspace(0.5, 1.5, log_probs.numel()).reshape(log_probs.shape)
    rows = Rows((torch.arange(n) % 2).float(), gen, ref)
    log_probs.requires_grad_()
    found = _asked("loss", loss, log_probs, rows, s)
    if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], Mapping)):
        raise ValueError(f"loss returns {short(found)}: must be (losses, metrics), losses one number per rollout")
    if taken := [name for name in found[1] if name in TAKEN_TERMS]:
        raise ValueError(f"loss: a metric named {taken[0]!r}: verl logs actor/{taken[0]} itself; rename it")
    for name, values in {"losses": found[0], **found[1]}.items():
        refuse_odd_tensor(f"loss: {name}", values, (n,), learns=True)
    # How many rows a micro-batch has depends on the machine, so a mean over them would too.
    some = Rows(rows.scores[1:], gen[1:], None if ref is None else ref[1:])
    alone, _ = loss(log_probs[1:], some, s)
    if not torch.allclose(alone, found[0][1:], atol=1e-5):
        raise ValueError("loss: the loss of a rollout depends on other rollouts: it must depend on its own row only")
    if not found[0].requires_grad:
        raise ValueError("loss returns losses that do not depend on log_probs: nothing would be learned")
    (gradient,) = torch.autograd.grad(found[0].sum(), log_probs)
    if not bool(gradient.isfinite().all()):
        raise ValueError("loss returns losses whose gradient is not finite")
    if not bool(gradient.any()):
        raise ValueError("loss returns losses whose gradient is 0 everywhere: nothing would be learned")


def _kept(algorithm: Algorithm, group: Group, past: Any, common: Any, s: Any) -> tuple[Any, Any]:
    """What `remember` keeps, checked to survive a checkpoint."""
    found = _asked("remember", algorithm.remember, group, past, common, s)
    if not (isinstance(found, tuple) and len(found) == 3 and isinstance(found[2], tuple | list)):
        raise ValueError(f"remember returns {short(found)}: must be (past, common, keys of due prompts)")
    if odd := [key for key in found[2] if key != KEY]:
        raise ValueError(f"remember: {short(odd[0])} is due, but is not the key of a prompt it was given")
    for value in found[:2]:
        try:
            back = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(f"remember returns what a checkpoint cannot hold: {error}") from None
        if _difference(value, back, "it"):
            raise ValueError(
                f"remember returns {short(value)}, which a checkpoint restores as {short(back)}: "
                "use lists, and dicts with string keys"
            )
    return found[0], found[1]
