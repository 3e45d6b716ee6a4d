"""What holds for every algorithm of the registry, on groups of any make."""

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from recipes import algorithms as package
from recipes.algorithms import algorithms, get_algorithm
from recipes.algorithms.base import At, Bare, Demonstration, Group, Hint, Plan, Weights
from tests import ROOT
from tests.helpers.groups import group, settings

RL = [name for name, algorithm in algorithms().items() if "rl" in algorithm.stages]
FILES = sorted(Path(package.__path__[0]).glob("[!_]*.py"))
SCORES = [0.0, 0.1, 0.4, 1.0]
JUNK = {"old": -40.0, "rescored": float("nan"), "entropy": float("nan")}
FEW = examples(max_examples=8)
PAGES = sorted(page for page in (ROOT / "docs/algorithms").glob("*.md") if page.stem in algorithms())


def drawn(algo: str, seed: int, past: Any = None, common: Any = None, segments: int = 5) -> list[Plan]:
    """The plans of four rollouts."""
    algorithm = get_algorithm(algo)
    found = algorithm.rollout(At(7, segments, past, common), settings(algorithm, T_hint=9), np.random.default_rng(seed))
    return found if isinstance(found, list) else [found] * 4


@st.composite
def groups(draw: st.DrawFn, algo: str, ok: Any = None) -> Group:
    """Four rollouts of an algorithm's own plans, and its demonstration now and then."""
    algorithm = get_algorithm(algo)
    segments = draw(st.sampled_from([0, 3, 5]))
    all_plans = drawn(algo, draw(st.integers(0, 99)), segments=segments)
    plans = [plan for plan in all_plans if not isinstance(plan, Demonstration)]
    demo = draw(st.sampled_from([0, 3])) if algorithm.demonstrations else 0
    each = group(
        [draw(st.sampled_from(SCORES)) for _ in plans],
        ok=ok or [draw(st.booleans()) for _ in plans],
        given=[2 if isinstance(plan, Hint) and plan.where == "response" else 0 for plan in plans],
        generated=[draw(st.integers(1, 4)) for _ in plans],
        demo=demo,
        plans=plans,
        segments=segments,
        solution=draw(st.sampled_from(["", "It is 2."])),
    )
    noise = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    known = {name: -3 * torch.rand(each.old.shape, generator=noise) for name in ("old", "rescored")}
    return replace(each, **known, entropy=2 * torch.rand(each.old.shape, generator=noise))


def weigh(algo: str, each: Group) -> Weights:
    algorithm = get_algorithm(algo)
    return algorithm.weigh(each, settings(algorithm))


def tensors(found: Weights) -> list[torch.Tensor]:
    """All that reaches the loss."""
    given_back = [found.advantage, found.mask, *(term.weights for term in found.terms)]
    return [each.float() for each in given_back if each is not None]


@pytest.mark.parametrize("algo", RL)
@FEW
@given(data=st.data())
def test_rows_without_a_verdict_weigh_nothing_and_change_nothing(algo: str, data: st.DataObject) -> None:
    each = data.draw(groups(algo))
    failed = (~each.ok).unsqueeze(-1)
    junk = {name: getattr(each, name).masked_fill(failed, value) for name, value in JUNK.items()}
    other = replace(each, scores=each.scores.masked_fill(~each.ok, 1.0), **junk)
    ours, theirs = tensors(weigh(algo, each)), tensors(weigh(algo, other))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.isfinite(a).all()
        assert torch.equal(a, b)
        assert not (a * failed).any()


@pytest.mark.parametrize("algo", RL)
@FEW
@given(data=st.data())
def test_a_group_without_any_verdict_gives_zeros(algo: str, data: st.DataObject) -> None:
    each = data.draw(groups(algo, ok=[False] * 4))
    found = weigh(algo, each)
    for values in tensors(found):
        assert torch.isfinite(values).all()
        assert not values[: len(each.plans) - int(each.demo.any())].any(), (
            "but for a demonstration, which has no verdict"
        )
    assert found.advantage is None or not found.advantage.any()


@pytest.mark.parametrize("algo", RL)
@FEW
@given(data=st.data())
def test_weights_are_on_tokens_and_of_one_kind_for_all_prompts(algo: str, data: st.DataObject) -> None:
    both = [data.draw(groups(algo)) for _ in range(2)]
    weighed = [weigh(algo, each) for each in both]
    for each, found in zip(both, weighed, strict=True):
        trained = each.gen if found.mask is None else found.mask
        tokens = each.gen | each.given | each.demo
        assert not (trained & ~(each.gen | each.given)).any(), "a demonstration is no part of PPO's loss"
        assert found.advantage is None or not (found.advantage * ~trained).any()
        assert not any((term.weights * ~tokens).any() for term in found.terms)
    kinds = [[(term.name, term.coef, term.norm, term.shape) for term in found.terms] for found in weighed]
    assert kinds[0] == kinds[1]
    assert len({found.advantage is None for found in weighed}) == 1


@pytest.mark.parametrize("algo", RL)
@FEW
@given(seed=st.integers(0, 10**6), segments=st.integers(0, 5))
def test_the_same_stream_draws_the_same_plans(algo: str, seed: int, segments: int) -> None:
    first = drawn(algo, seed, segments=segments)
    assert first == drawn(algo, seed, segments=segments)
    assert len(first) == 4 + get_algorithm(algo).demonstrations
    for plan in first:
        assert isinstance(plan, Bare | Hint | Demonstration)
        if isinstance(plan, Hint):
            assert 0 <= plan.segments <= segments
            assert plan.share is None or 0 <= plan.share <= 1
            assert plan.where == "response" or get_algorithm(algo).hints_in_prompt


@pytest.mark.parametrize("algo", RL)
@FEW
@given(data=st.data())
def test_memory_survives_a_checkpoint_and_draws_go_on_from_it(algo: str, data: st.DataObject) -> None:
    algorithm = get_algorithm(algo)
    s = settings(algorithm, unsolved_buffer=2)
    past, common = None, None
    for _ in range(3):
        each = replace(data.draw(groups(algo)), key=data.draw(st.sampled_from("ab")))
        old, before = [past, common], json.dumps([past, common])
        past, common, due = algorithm.remember(each, past, common, s)
        assert json.dumps(old) == before, "what it was given is not changed in place"
        assert all(isinstance(key, str) for key in due)
        assert json.loads(json.dumps([past, common, list(due)])) == [past, common, list(due)]
    again_past, again_common = json.loads(json.dumps([past, common]))
    assert drawn(algo, 3, past, common) == drawn(algo, 3, again_past, again_common)


@pytest.mark.parametrize("algo", RL)
def test_a_group_of_one_rollout_is_weighed_without_nan(algo: str) -> None:
    plans = [plan for plan in drawn(algo, 0) if not isinstance(plan, Demonstration)][-1:]
    for score in SCORES:
        found = weigh(algo, group([score], plans=plans, demo=3 * get_algorithm(algo).demonstrations))
        assert all(torch.isfinite(values).all() for values in tensors(found))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_algorithm_is_one_short_file(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 80 or file.stem == "base"
    assert file.stem == "base" or file.stem in algorithms(), "a file is named after its algorithm"


def test_options_are_flags_of_one_algorithm_each_with_help_and_a_default_that_tells_the_type() -> None:
    seen: dict[str, str] = {}
    for name, algorithm in algorithms().items():
        for option in fields(algorithm.options) if algorithm.options else ():
            assert seen.setdefault(option.name, name) == name, "run.py could not tell whose it is"
            assert option.metadata["help"]
            assert type(option.default) in (int, float, str)


def test_the_files_are_read_without_torch_for_help() -> None:
    code = "import sys; from recipes.algorithms import algorithms; algorithms(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0


def test_no_algorithm_sets_an_absolute_learning_rate() -> None:
    assert not [name for name, each in algorithms().items() if {"lr", "sft_lr", "critic_lr"} & set(each.settings)]


@pytest.mark.parametrize("algo", algorithms())
def test_every_algorithm_is_in_the_tables_of_readme_and_docs(algo: str) -> None:
    assert f"`{algo}`" in (ROOT / "README.md").read_text(encoding="utf-8")
    tables = [(ROOT / "docs/algorithms" / f"{name}.md").read_text(encoding="utf-8") for name in ("README", "alignment")]
    assert any(f"`{algo}" in text for text in tables)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_of_an_algorithm_has_its_command_its_metrics_and_its_options(page: Path) -> None:
    text, algorithm = page.read_text(encoding="utf-8"), algorithms()[page.stem]
    assert f"python3 run.py --algo {page.stem}" in text
    assert "| metric | meaning |" in text
    assert all(f"--{option.name}" in text for option in (fields(algorithm.options) if algorithm.options else ()))
