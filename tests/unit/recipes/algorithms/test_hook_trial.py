"""Hooks of scored rollouts are tried on prompts made by hand, before a run has loaded anything."""

import random
import re
from functools import partial, wraps
from typing import Any

import pytest
import torch

from recipes.algorithms import algorithms
from recipes.algorithms.base import Algorithm, Hint, Term, Weights
from recipes.checks.trial import try_hooks
from tests.helpers.groups import settings

RL = [name for name, each in algorithms().items() if "rl" in each.stages]


def own(**hooks: Any) -> Algorithm:
    return Algorithm(name="mine", title="", paper="", equation="", stages=("rl",), **hooks)


def weighing(make: Any) -> Any:
    return {"weigh": lambda group, s: make(group)}


@pytest.mark.parametrize("reference", [True, False])
@pytest.mark.parametrize("name", RL)
def test_every_built_in_algorithm_stands_the_trial(name: str, reference: bool) -> None:
    algorithm = algorithms()[name]
    for n in (2, 5) if "group" in algorithm.needs else (1, 2, 5):
        try_hooks(algorithm, settings(algorithm, n_rollout=n), reference=reference or "reference" in algorithm.needs)


def ones(group: Any) -> torch.Tensor:
    return (group.given | group.gen | group.demo).float()


def total(p: torch.Tensor) -> torch.Tensor:
    return p.sum()


SQUARE = partial(pow, exp=2)


@wraps(total)
def renamed(p: torch.Tensor) -> torch.Tensor:
    return p


def centred(p: torch.Tensor) -> torch.Tensor:
    return p - p.mean()


ODD = {
    "nothing": (weighing(lambda g: None), "weigh returns None (is there a return?): must be Weights"),
    "one a row": (
        weighing(lambda g: Weights(g.scores)),
        "advantage is a tensor of shape (4,): must be a tensor of shape",
    ),
    "a number": (weighing(lambda g: Weights(1.0)), "weigh: advantage is 1.0: must be a tensor"),
    "truth values": (weighing(lambda g: Weights(g.given)), "advantage has dtype torch.bool: must be a floating"),
    "odd metrics": (
        weighing(lambda g: Weights(metrics={"x": "hello"})),
        "weigh: metrics returns x='hello': must be a finite number",
    ),
    "metrics of nothing": (weighing(lambda g: Weights(metrics=None)), "weigh: metrics returns None: must be a dict"),
    "a name of two words": (weighing(lambda g: Weights(terms=(Term(ones(g), "a/b c"),))), "terms named ['a/b c']"),
    "a coef of truth": (weighing(lambda g: Weights(terms=(Term(ones(g), "a", coef=True),))), "coef=True of the term"),
    "by chance": (
        weighing(lambda g: Weights(torch.randn(g.old.shape))),
        "weigh returns something else when called again",
    ),
    "a changed batch": (
        weighing(lambda g: (g.old.zero_(), Weights())[1]),
        "weigh changes group.old: others read it; work on a copy",
    ),
    "changed settings": (
        {"weigh": lambda g, s: (setattr(s, "n_rollout", s.n_rollout + 1), Weights())[1]},
        "weigh changes s: all hooks share these settings",
    ),
    "a shape of no module": (
        weighing(lambda g: Weights(terms=(Term(ones(g), "a", shape=lambda p: p),))),
        "of a term must be a top-level function of its file",
    ),
    "a shape over tokens": (
        weighing(lambda g: Weights(terms=(Term(ones(g), "a", shape=total),))),
        "is a tensor of shape ()",
    ),
    "a shape by the mean": (
        weighing(lambda g: Weights(terms=(Term(ones(g), "a", shape=centred),))),
        "must be elementwise",
    ),
    "no number": (weighing(lambda g: Weights(ones(g) / 0)), "advantage has values that are not finite"),
    "a weight on padding": (
        weighing(lambda g: Weights(terms=(Term(torch.ones_like(g.old), "a"),))),
        "weights of the term 'a' are not 0 at padding",
    ),
    "padding that is counted": (
        weighing(lambda g: Weights(terms=(Term(ones(g), "a", over=torch.ones_like(g.old)),))),
        "over of the term 'a' are not 0 at padding",
    ),
    "a shape that is no function": (
        weighing(lambda g: Weights(terms=(Term(ones(g), "a", shape=SQUARE),))),
        "must be a function of its file, written with def",
    ),
    "a shape of another's name": (
        weighing(lambda g: Weights(terms=(Term(ones(g), "a", shape=renamed),))),
        "the shape of a term is named total, which is something else in its file",
    ),
    "nothing is due, as None": (
        {"remember": lambda g, past, common, s: (past, common, None)},
        "remember returns (None",
    ),
    "a term where there is a hint": (
        {
            "weigh": lambda g, s: Weights(terms=(Term(ones(g), "a"),)) if g.given.any() else Weights(),
            "rollout": lambda at, s, rng: Hint(1),
        },
        "give every prompt the same terms, with zero weights if one does not apply",
    ),
    "a term where all are not right": (
        weighing(lambda g: Weights() if g.scores[g.ok].min() == 1 else Weights(terms=(Term(ones(g), "a"),))),
        "different terms for different prompts",
    ),
    "a coef by entropy": (
        weighing(lambda g: Weights(terms=(Term(ones(g), "a", coef=float(g.entropy.mean())),))),
        "different terms for different prompts",
    ),
    "a mask of nothing": (
        weighing(lambda g: Weights(mask=ones(g) < 0)),
        "weigh masks every token of all tested groups, and no term has a weight",
    ),
    "weights for a mask": (
        weighing(lambda g: Weights(mask=ones(g))),
        "mask has dtype torch.float32: must be torch.bool",
    ),
    "a term of verl's name": (
        weighing(lambda g: Weights(terms=(Term(ones(g), "pg_loss"),))),
        "a term named 'pg_loss': verl logs actor/pg_loss itself",
    ),
    "a metric of a tensor": (
        weighing(lambda g: Weights(metrics={"x": g.scores.mean()})),
        "must be a finite number; write float(x)",
    ),
    "a term alone": (weighing(lambda g: Weights(terms=Term(ones(g), "a"))), "must be a tuple of Term(...)"),
    "terms of one name": (weighing(lambda g: Weights(terms=(Term(ones(g), "a"),) * 2)), "terms named ['a', 'a']"),
    "a norm that is none": (
        weighing(lambda g: Weights(terms=(Term(ones(g), "a", norm="mean"),))),
        "norm='mean' of the",
    ),
    "a coef of a tensor": (
        weighing(lambda g: Weights(terms=(Term(ones(g), "a", coef=g.scores.sum()),))),
        "of the term 'a': must be a finite number, the same for all prompts: write float(...)",
    ),
    "a coef by prompt": (
        weighing(lambda g: Weights(terms=(Term(ones(g), "a", coef=float(g.scores.sum())),))),
        "different terms for different prompts (name, coef, norm, shape)",
    ),
    "a text for messages": (
        {"context": lambda i, group, s: "again"},
        "context returns 'again': must be a list of messages",
    ),
    "memory of two": (
        {"remember": lambda g, past, common, s: (None, None)},
        "must be (past, common, keys of due prompts)",
    ),
    "memory of tensors": (
        {"remember": lambda g, past, common, s: (g.scores, None, ())},
        "remember returns what a checkpoint cannot hold",
    ),
    "memory's metrics of the memory": (
        {"remember": lambda g, past, common, s: (1, None, ()), "memory_metrics": lambda past, common, s: {"x": past}},
        "memory_metrics returns x={'0123456789abcdef': 1}: must be a finite number",
    ),
    "another prompt": (
        {"remember": lambda g, past, common, s: (None, None, ["k"])},
        "'k' is due, but is not the key of",
    ),
    "a draw that fails with memory": (
        {"rollout": lambda at, s, rng: Hint(at.past or 0), "remember": lambda g, past, common, s: (0.5, None, ())},
        "a Hint with segments=0.5",
    ),
    "a mean for losses": ({"loss": lambda lp, rows, s: (lp.mean(), {})}, "losses is a tensor of shape (): must be"),
    "losses alone": ({"loss": lambda lp, rows, s: lp.sum(-1)}, "must be (losses, metrics)"),
    "a metric of a number": (
        {"loss": lambda lp, rows, s: (lp.sum(-1), {"x": 1.0})},
        "loss: x is 1.0: must be a tensor",
    ),
    "a loss by chance": (
        {"loss": lambda lp, rows, s: (lp.sum(-1) + torch.rand(len(lp)), {})},
        "loss returns something else when called again",
    ),
    "a loss that changes its rows": (
        {"loss": lambda lp, rows, s: (lp.sum(-1) * rows.scores.add_(1), {})},
        "loss changes rows.scores: others read it; work on a copy",
    ),
    "a loss by the batch": (
        {"loss": lambda lp, rows, s: (lp.sum(-1) - lp.sum(-1).mean(), {})},
        "loss: the loss of a rollout depends on other rollouts",
    ),
    "a loss without a gradient": ({"loss": lambda lp, rows, s: (0 * lp.sum(-1), {})}, "whose gradient is 0 everywhere"),
    "messages by chance": (
        {"context": lambda i, group, s: [{"role": "user", "content": f"{random.random()}"}]},
        "context returns something else when called again",
    ),
    "a context that changes scores": (
        {"context": lambda i, group, s: (group.scores.add_(1), None)[1]},
        "context changes group.scores",
    ),
    "a role that is none": (
        {"context": lambda i, group, s: [{"role": "teacher", "content": "Well?"}]},
        "a message with role 'teacher': must be one of system, user, assistant, tool",
    ),
    "an answer before the rollout": (
        {"context": lambda i, group, s: [*group.messages, {"role": "assistant", "content": "2"}]},
        "context ends with a message with role 'assistant'",
    ),
    "memory by chance": (
        {"remember": lambda g, past, common, s: (random.random(), None, ())},
        "remember returns something else when called again",
    ),
    "memory that is written over": (
        {"remember": lambda g, past, common, s: ((past or [0]), (common or []).append(1) or (common or [1]), ())},
        "remember changes common",
    ),
    "memory by number": (
        {"remember": lambda g, past, common, s: ({1: 2}, None, ())},
        "remember returns {1: 2}, which a checkpoint restores as {'1': 2}: use lists, and dicts with string",
    ),
    "memory of a tuple": (
        {"remember": lambda g, past, common, s: (None, (1, 2), ())},
        "which a checkpoint restores as [1, 2]",
    ),
    "memory of no number": (
        {"remember": lambda g, past, common, s: (float("nan"), None, ())},
        "remember returns what a checkpoint cannot hold",
    ),
    "a loss of nothing": ({"loss": lambda lp, rows, s: (rows.scores, {})}, "losses that do not depend on log_probs"),
}


@pytest.mark.parametrize("odd", ODD)
def test_what_a_hook_may_not_give_is_refused_by_its_name(odd: str) -> None:
    hooks, says = ODD[odd]
    with pytest.raises(ValueError, match=f"^[^\\n]*{re.escape(says)}[^\\n]*$"):
        try_hooks(own(**hooks), settings(), reference=False)


def test_rewards_of_one_rollout_are_compared_with_none() -> None:
    with pytest.raises(ValueError, match="--n_rollout 1: without an advantage from weigh"):
        try_hooks(own(), settings(n_rollout=1), reference=False)
    try_hooks(own(**weighing(lambda g: Weights(ones(g)))), settings(n_rollout=1), reference=False)
