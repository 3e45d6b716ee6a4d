"""Hooks of scored rollouts are tried on prompts made by hand, before a run has loaded anything."""

import re
from typing import Any

import pytest
import torch

from recipes.algorithms import algorithms
from recipes.algorithms.base import Algorithm, Hint, Term, Weights
from recipes.checks.trial import try_hooks
from tests.groups import settings

RL = [name for name, each in algorithms().items() if "rl" in each.stages]


def own(**hooks: Any) -> Algorithm:
    return Algorithm(name="mine", title="", paper="", equation="", stages=("rl",), **hooks)


def weighing(make: Any) -> Any:
    return {"weigh": lambda group, s: make(group)}


@pytest.mark.parametrize("reference", [True, False])
@pytest.mark.parametrize("name", RL)
def test_every_built_in_algorithm_stands_the_trial(name: str, reference: bool) -> None:
    algorithm = algorithms()[name]
    for n in (1, 2, 5):
        try_hooks(algorithm, settings(algorithm, n_rollout=n), reference=reference or "reference" in algorithm.needs)


def ones(group: Any) -> torch.Tensor:
    return torch.ones_like(group.old)


def total(p: torch.Tensor) -> torch.Tensor:
    return p.sum()


def centred(p: torch.Tensor) -> torch.Tensor:
    return p - p.mean()


ODD = {
    "nothing": (weighing(lambda g: None), "weigh gives None (is there a return?): must be Weights"),
    "one a row": (
        weighing(lambda g: Weights(g.scores)),
        "advantage is a tensor of shape (4,): must be a tensor of shape",
    ),
    "a number": (weighing(lambda g: Weights(1.0)), "weigh: advantage is 1.0: must be a tensor"),
    "truth values": (weighing(lambda g: Weights(g.given)), "advantage is of torch.bool: must be of floating point"),
    "odd metrics": (
        weighing(lambda g: Weights(metrics={"x": "hello"})),
        "weigh: metrics gives {'x': 'hello'}: must be",
    ),
    "metrics of nothing": (weighing(lambda g: Weights(metrics=None)), "weigh: metrics gives None: must be a dict"),
    "a name of two words": (weighing(lambda g: Weights(terms=(Term(ones(g), "a/b c"),))), "terms named ['a/b c']"),
    "a coef of truth": (weighing(lambda g: Weights(terms=(Term(ones(g), "a", coef=True),))), "coef=True of the term"),
    "by chance": (weighing(lambda g: Weights(torch.randn(g.old.shape))), "gives other weights when it is asked again"),
    "a changed batch": (
        weighing(lambda g: (g.old.zero_(), Weights())[1]),
        "weigh changes group.old, which others read after it: work on a copy",
    ),
    "changed settings": (
        {"weigh": lambda g, s: (setattr(s, "n_rollout", s.n_rollout + 1), Weights())[1]},
        "weigh changes s: these are the settings of all hooks",
    ),
    "a shape of no module": (
        weighing(lambda g: Weights(terms=(Term(ones(g), "a", shape=lambda p: p),))),
        "of a term must be a function of its file",
    ),
    "a shape over tokens": (
        weighing(lambda g: Weights(terms=(Term(ones(g), "a", shape=total),))),
        "is a tensor of shape ()",
    ),
    "a shape by the mean": (
        weighing(lambda g: Weights(terms=(Term(ones(g), "a", shape=centred),))),
        "must be elementwise",
    ),
    "no number": (weighing(lambda g: Weights(ones(g) / 0)), "advantage has values that are no finite numbers"),
    "weights for a mask": (
        weighing(lambda g: Weights(mask=ones(g))),
        "mask is of torch.float32: must be of torch.bool",
    ),
    "a term alone": (weighing(lambda g: Weights(terms=Term(ones(g), "a"))), "must be a tuple of Term(...)"),
    "terms of one name": (weighing(lambda g: Weights(terms=(Term(ones(g), "a"),) * 2)), "terms named ['a', 'a']"),
    "a norm that is none": (
        weighing(lambda g: Weights(terms=(Term(ones(g), "a", norm="mean"),))),
        "norm='mean' of the",
    ),
    "a coef of a tensor": (
        weighing(lambda g: Weights(terms=(Term(ones(g), "a", coef=g.scores.sum()),))),
        "coef=tensor(2.) of the term 'a': must be a finite number",
    ),
    "a coef by prompt": (
        weighing(lambda g: Weights(terms=(Term(ones(g), "a", coef=float(g.scores.sum())),))),
        "other terms for other prompts (name, coef, norm, shape)",
    ),
    "a text for messages": (
        {"context": lambda i, group, s: "again"},
        "context gives 'again': must be a list of messages",
    ),
    "memory of two": (
        {"remember": lambda g, past, common, s: (None, None)},
        "must be (past, common, keys of what is due)",
    ),
    "memory of tensors": (
        {"remember": lambda g, past, common, s: (g.scores, None, ())},
        "remember gives what a checkpoint cannot hold",
    ),
    "memory's metrics of the memory": (
        {"remember": lambda g, past, common, s: (1, None, ()), "memory_metrics": lambda past, common, s: {"x": past}},
        "memory_metrics gives {'x': {'0123456789abcdef': 1}}: must be a dict of numbers",
    ),
    "another prompt": (
        {"remember": lambda g, past, common, s: (None, None, ["k"])},
        "'k' is due, which is the key of no",
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
    "a loss of nothing": ({"loss": lambda lp, rows, s: (rows.scores, {})}, "losses that do not depend on log_probs"),
}


@pytest.mark.parametrize("odd", ODD)
def test_what_a_hook_may_not_give_is_refused_by_its_name(odd: str) -> None:
    hooks, says = ODD[odd]
    with pytest.raises(ValueError, match=f"^[^\\n]*{re.escape(says)}[^\\n]*$"):
        try_hooks(own(**hooks), settings(), reference=False)
