"""Which settings a file of one's own reads, so that a flag without effect is refused and no other."""

from dataclasses import replace
from functools import partial, wraps
from typing import Any

import numpy as np
import pytest
import torch

from recipes.algorithms import algorithms, uft
from recipes.algorithms.base import At, Group, Hint, Plan, Weights, grpo
from recipes.settings import applies
from recipes.settings.applies import clock, hint_term, mentions


def direct(at: At, s: Any, rng: np.random.Generator) -> Plan:
    return Hint(0.5 * (at.step < s.T_hint))


def by_a_module(at: At, s: Any, rng: np.random.Generator) -> Plan:
    return uft.rollout(at, s, rng)


def by_name(at: At, s: Any, rng: np.random.Generator) -> Plan:
    return Hint(0.5 * (at.step < getattr(s, "T_hint")))  # noqa: B009


def inside(at: At, s: Any, rng: np.random.Generator) -> Plan:
    return Hint(max(0.5 * (at.step < s.T_hint) for _ in range(1)))


@wraps(by_a_module)
def wrapped(*arguments: Any) -> Plan:
    return by_a_module(*arguments)


class Callable:
    def __call__(self, at: At, s: Any, rng: np.random.Generator) -> Plan:
        return Hint(0.5 * (at.step < s.T_hint))


def not_at_all(at: At, s: Any, rng: np.random.Generator) -> Plan:
    return Hint(float(torch.sigmoid(torch.tensor(s.n_rollout))))


READ = [direct, by_a_module, by_name, inside, wrapped, Callable(), partial(direct)]


@pytest.mark.parametrize("rollout", READ, ids=lambda rollout: getattr(rollout, "__name__", type(rollout).__name__))
def test_a_clock_is_seen_however_it_is_read(rollout: Any) -> None:
    mine = replace(algorithms()["uft"], name="mine", rollout=rollout)
    assert clock(mine, mine.stages)


def test_a_clock_that_is_not_read_is_not_seen() -> None:
    mine = replace(algorithms()["rft"], name="mine", rollout=not_at_all)
    assert not clock(mine, mine.stages)
    assert not mentions(not_at_all, "T_hint")
    # What has no code to look at may read anything.
    assert mentions(len, "T_hint")


def test_settings_of_the_hints_likelihood_belong_to_a_weigh_that_reads_them() -> None:
    def own(group: Group, s: Any) -> Weights:
        return Weights()

    def by_the_default(group: Group, s: Any) -> Weights:
        return grpo(group, s)

    mine = algorithms()["uft"]
    assert hint_term(mine, mine.stages)
    assert hint_term(replace(mine, name="mine"), mine.stages)
    assert hint_term(replace(mine, name="mine", weigh=by_the_default), mine.stages)
    assert not hint_term(replace(mine, name="mine", weigh=own), mine.stages)
    assert not applies.hint_term(algorithms()["rft"], ("rl",))
