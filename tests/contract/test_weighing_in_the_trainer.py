"""The trainer around weighing: a figure of its step, and what an algorithm remembers of prompts."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

from recipes.algorithms.base import Group, Hint, Kept, Weights
from recipes.common.run_dir import RunDir
from recipes.verl_plugin import trainer as trainer_module
from recipes.verl_plugin.agent_loop import plan_batch
from recipes.verl_plugin.memory import MEMORY, recalled, update
from recipes.verl_plugin.trainer import UnifiedTrainer
from tests.helpers.weighed_rows import FAILED, SHOWN, UFT, S, batch, groups, rows_of_two_prompts

pytestmark = pytest.mark.contract


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    return rows_of_two_prompts(monkeypatch)


@pytest.mark.parametrize(("worth", "silent"), [(0.0, 1.0), (1.0, 0.0)])
def test_the_step_records_updates_that_rewards_have_no_part_in(
    worth: float, silent: float, plane: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = remembering(tmp_path)
    gives = replace(UFT, weigh=lambda group, s: Weights(worth * torch.ones_like(group.old)))
    made._algorithm = gives
    made._failed_rows, made._demonstrations, made.global_steps = set(FAILED), set(SHOWN), 1
    made.use_reference_policy, made._problems = False, {}
    made.records = SimpleNamespace(phase=lambda *_: None)  # type: ignore[assignment]
    actor = {"actor": {"ppo_mini_batch_size": 5}, "rollout": {"n": 1}}
    uft = {"algorithm": "uft", "record": {}, "overlong_buffer": 0}
    config = {"actor_rollout_ref": actor, "uft": uft, "algorithm": {"use_kl_in_reward": False}}
    made.config = OmegaConf.create({**config, "trainer": {"test_freq": -1}})
    made.actor_rollout_wg = SimpleNamespace(_dispatch_info={"actor": [0]})
    monkeypatch.setattr(PPOTrainerSync, "_update_actor", lambda self, batch, metrics: batch)
    metrics: dict[str, float] = {}
    made._update_actor(batch(), metrics)
    assert metrics["uft/updates_without_reward_gradient"] == silent


def counted(group: Group, past: Any, common: Any, s: Any) -> Kept:
    """How often a prompt was seen, and the keys of all so far in the order they came."""
    return (past or 0) + 1, [*(common or []), group.key], ()


REMEMBERING = replace(UFT, name="counting", remember=counted, rollout=lambda at, s, rng: Hint(at.past or 0))


def remembering(tmp_path: Path, resume_from: Path | None = None) -> UnifiedTrainer:
    made = object.__new__(UnifiedTrainer)
    made._algorithm, made._settings = REMEMBERING, S
    uft = {"record": {}, "keep_checkpoints": 2, "hf_dtype": "float32"}
    found = {"trainer": {"resume_from_path": None if resume_from is None else str(resume_from)}, "uft": uft}
    made.config = OmegaConf.create({**found, "actor_rollout_ref": {"model": {"path": "m"}}})
    made.run_dir = trainer_module.RunDir(tmp_path)
    made.records = SimpleNamespace(phase=lambda *_: None)  # type: ignore[assignment]
    made.memory = recalled(resume_from)
    return made


@pytest.mark.usefixtures("plane")
def test_what_is_remembered_is_in_the_checkpoint_before_it_counts_as_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = remembering(tmp_path)
    _, known = groups()
    for each in (known[::-1], known):
        assert update(first.memory, REMEMBERING, each, S) == []
    assert first.memory == {"past": {"p0": 2, "p1": 2}, "common": ["p0", "p1", "p0", "p1"]}
    folder = tmp_path / "checkpoints/global_step_2"
    folder.mkdir(parents=True)
    monkeypatch.setattr(PPOTrainerSync, "_save_checkpoint", lambda self: None)
    monkeypatch.setattr(trainer_module, "finish_export", lambda *_: None)

    def written(self: RunDir, saved: Path, *_: object) -> None:
        assert json.loads((saved / MEMORY).read_text()) == first.memory

    monkeypatch.setattr(RunDir, "checkpoint_written", written)
    first._write_checkpoint(2, None)
    again = remembering(tmp_path, folder)
    assert again.memory == first.memory


def test_the_next_draws_see_what_was_remembered_of_their_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.verl_plugin.agent_loop.get_algorithm", lambda name: REMEMBERING)
    settings = OmegaConf.create({"algorithm": "counting", "seed": 0, "settings": {}})
    rows = [{"raw_prompt": [{"content": name}], "hint": ["a", "b", "c"]} for name in "xy"]
    fresh = plan_batch(rows, settings=settings, step=1, validate=False, memory={"past": {}, "common": None})
    assert [entry["plans"][0]["length"] for entry in fresh] == [0, 0]
    past = {fresh[0]["prompt_key"]: 2}
    later = plan_batch(rows, settings=settings, step=2, validate=False, memory={"past": past, "common": None})
    assert [entry["plans"][0]["length"] for entry in later] == [2, 0]
