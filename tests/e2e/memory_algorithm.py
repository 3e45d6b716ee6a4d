"""The algorithm of test_resume.py: adaback's intervals and relift's buffer, each by its own file's functions."""

from dataclasses import replace
from types import SimpleNamespace

from recipes.algorithms import get_algorithm
from recipes.algorithms.base import Algorithm

SEARCH, BUFFER = get_algorithm("adaback"), get_algorithm("relift")
OPTIONS = SimpleNamespace(success_reward=0.5, unsolved_buffer=5)


def rollout(at, s, rng):
    return SEARCH.rollout(replace(at, common=at.common and at.common["bounds"]), s, rng)


def remember(group, past, common, s):
    common = common or {"bounds": None, "waiting": None}
    past, bounds, _ = SEARCH.remember(group, past, common["bounds"], OPTIONS)
    _, waiting, due = BUFFER.remember(group, None, common["waiting"], OPTIONS)
    return past, {"bounds": bounds, "waiting": waiting}, due


def memory_metrics(past, common, s):
    return {**SEARCH.memory_metrics(past, common["bounds"], s), **BUFFER.memory_metrics(past, common["waiting"], s)}


ALGORITHM = Algorithm(
    name="memory",
    title="A test's algorithm",
    paper="none",
    equation="adaback and relift at once",
    stages=("rl",),
    needs=frozenset({"group"}),
    rollout=rollout,
    remember=remember,
    memory_metrics=memory_metrics,
)
