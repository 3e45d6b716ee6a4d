"""A user's hook that cannot be called, fails, or returns what nobody can use is refused in one line."""

from functools import partial
from pathlib import Path

import pytest

from recipes.algorithms import AlgorithmFileError, get_algorithm, time_limit
from run import main
from tests.helpers.groups import settings
from tests.helpers.own_algorithms import field, refused, written


def shape(body: str) -> str:
    return f"def shape(p):\n    return {body}\n" + field(stages="('sft',)", needs="frozenset()", supervised="shape")


ODD = {
    "a hook of two arguments": (
        "def rollout(at, s):\n    return Bare()\n" + field(rollout="rollout"),
        "rollout(at, s): is called as rollout(at, s, rng)",
    ),
    "a hook of too many": (
        field(weigh="lambda group, s, more: None"),
        "weigh(group, s, more): is called as weigh(group, s)",
    ),
    "a hook that is none": (field(rollout="None"), "rollout=None: must be a function rollout(at, s, rng)"),
    "a hook that is called": (field(remember="3"), "remember=3: must be a function remember(group, past, common, s)"),
    "a hook that waits": (
        "async def rollout(at, s, rng):\n    return Bare()\n" + field(rollout="rollout"),
        "rollout: must be a plain function rollout(at, s, rng), without async or yield",
    ),
    "a shape inside another function": (
        field(stages="('sft',)", supervised="lambda p: p"),
        "supervised: the shape <lambda> of a term must be a top-level function of its file",
    ),
    "metrics that are none": (field(metrics="lambda step, s: [1.0]"), "metrics at step 1 returns [1.0]: must be"),
    "a partial for a shape": (
        field(stages="('sft',)", supervised="partial(pow, 2)"),
        "must be a function of its file",
    ),
    "metrics by number": (field(metrics="lambda step, s: {1: 1.0}"), "must be a dict of numbers"),
    "metrics with blanks": (field(metrics="lambda step, s: {'a b': 1.0}"), "returns a metric 'a b': use only letters"),
    "metrics of numpy": (
        "import numpy\n" + field(metrics="lambda step, s: {'x': numpy.float32(1)}"),
        "must be a finite number; write float(x)",
    ),
    "metrics that fail": (field(metrics="lambda step, s: {'x': s.nothing}"), "metrics: AttributeError"),
    "a setting mistyped in a hook": (
        "def weigh(group, s):\n    return s.n_rolout\n" + field(weigh="weigh"),
        "has no attribute 'n_rolout'; did you mean 'n_rollout'?",
    ),
    "a name that is not imported, in a hook of scored rollouts": (
        "def weigh(group, s):\n    return Wieghts()\n" + field(weigh="weigh"),
        "weigh: NameError: name 'Wieghts' is not defined",
    ),
    "a hook without a return": ("def weigh(group, s):\n    pass\n" + field(weigh="weigh"), "weigh returns None"),
    "a shape that fails": (shape("p.nope"), "supervised"),
    "a shape that is one number": (shape("p.sum()"), "supervised is a tensor of shape ()"),
    "a shape without bounds": (shape("-(1 - p).log()"), "supervised has values that are not finite"),
    "a shape in place": (shape("p.mul_(2)"), "supervised changes the probabilities it is given"),
    "a shape over the batch": (shape("p / p.mean()"), "elementwise"),
    "a shape over a row": (shape("p - p.mean(-1, keepdim=True)"), "elementwise"),
    "a shape of what went before": (shape("p.cumprod(-1)"), "elementwise"),
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_hooks_are_refused(odd: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(tmp_path, capsys, *ODD[odd])


def test_an_error_of_a_hook_names_the_hook_and_the_line(tmp_path: Path) -> None:
    text = "def inner(group):\n    return group['x']\ndef weigh(group, s):\n    return inner(group)\n"
    algorithm = get_algorithm(file := written(tmp_path, text + field(weigh="weigh")))
    with pytest.raises(AlgorithmFileError, match=rf"^{file}, line 9: weigh: KeyError: 'x'$"):
        algorithm.weigh({}, settings())  # type: ignore[arg-type]


@pytest.mark.parametrize("hook", ["rollout(at, s, rng)", "weigh(group, s)"])
def test_a_hook_that_never_ends_does_not_hold_up_the_start(
    hook: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = hook.partition("(")[0]
    monkeypatch.setattr("recipes.checks.algorithm_check.time_limit", partial(time_limit, 3.0))
    endless = f"def {hook}:\n    while True:\n        pass\n" + field(**{name: name})
    assert main(["--algo", written(tmp_path, endless), "--dry_run"]) == 2
    said = capsys.readouterr().err
    assert f"{name}: OutOfTimeError: did not finish within 3 s" in said
    assert said.count("not finished yet; waiting up to 3 s") == 1
