"""An algorithm of one's own with a supervised stage before reinforcement keeps its hints."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from recipes import algorithms
from recipes.algorithms.base import Algorithm, At, Hint
from recipes.common.run_dir import RunDir
from recipes.flags.resolve import build_experiment
from recipes.settings.profiles import PROFILES
from recipes.verl_plugin.verl_config import rl_config

pytestmark = pytest.mark.contract


def all_but_one(at: At, s: Any, rng: Any) -> Hint:
    return Hint(at.segments - 1)


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> Algorithm:
    made = Algorithm(
        name="mine",
        title="a test's",
        paper="none",
        equation="sft; then GRPO from a hint",
        stages=("sft", "rl"),
        rollout=all_but_one,
        settings={"sft_loss_coef": 0.5},
    )
    known = {**algorithms.algorithms(), "mine": made}
    monkeypatch.setattr(algorithms, "algorithms", lambda: known)
    monkeypatch.setattr("recipes.checks.algorithm_check.algorithms", lambda: known)
    return made


def test_the_reinforcement_stage_after_a_supervised_one_draws_its_hints(mine: Algorithm) -> None:
    from recipes.verl_plugin.agent_loop import plan_batch

    experiment = build_experiment({"algo": "mine", "T_hint": 20}, PROFILES["cpu"])
    config = rl_config(
        experiment,
        run=RunDir(Path("run")),
        model="models/tiny-countdown",
        train_file=Path("a"),
        test_file=Path("b"),
        resume_from=None,
    )
    row = {"raw_prompt": [{"role": "user", "content": "q"}], "hint": ["a", "b", "c"], "extra_info": {"index": 3}}
    settings: Any = OmegaConf.create(config["uft"])
    draw = partial(plan_batch, [row], settings=settings, step=2)
    assert draw(validate=False)[0]["plans"][0]["length"] == 2
    assert draw(validate=True)[0]["plans"][0]["length"] == 0
    assert config["uft"]["settings"]["sft_loss_coef"] == 0.5
    assert config["data"]["max_response_length"] == experiment.max_response_length + experiment.max_hint_length
