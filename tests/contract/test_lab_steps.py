"""A step of the fast lab is one of the training loop: the same tokens, groups and weights, by way of the agent loop and
verl's data plane."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from transfer_queue.metadata import KVBatchMeta

from bench.lab import model
from bench.lab.losses import score
from bench.lab.reinforce import Reinforcement
from bench.lab.rollouts import Lab, start_of
from recipes.algorithms.base import Bare, Demonstration, Hint, Plan
from recipes.algorithms.hints.cut import as_record
from recipes.common.run_dir import RunDir
from recipes.settings.hook_settings import hook_settings
from recipes.verl_plugin import weighing
from recipes.verl_plugin.agent_loop import HINT_COLUMN, HintedAgentLoop, plan_batch
from recipes.verl_plugin.config_sections import uft_section
from tests.helpers.agent_loops import ScriptedEngine
from tests.helpers.data_planes import data_plane
from tests.helpers.labs import BASE, ROWS, lab

pytestmark = pytest.mark.contract


@pytest.mark.parametrize(
    "plan",
    [Bare(), Hint(3), Hint(share=0.45), Hint(2, where="prompt"), Hint(share=1.0), Demonstration()],
    ids=lambda plan: str(plan)[:40],
)
def test_a_rollout_starts_from_the_tokens_that_the_agent_loop_starts_from(plan: Plan) -> None:
    here, row = lab("questa"), ROWS[0]
    record = as_record(plan, len(row["hint"]))
    start = start_of(here, row, record)
    engine = ScriptedEngine([7, 8, 0])
    done = asyncio.run(loop(here, engine).run({}, **as_read(row, record)))
    given = list(done.response_ids) if isinstance(plan, Demonstration) else list(done.response_ids)[:-3]
    assert (start.prompt, start.given) == (list(done.prompt_ids), given)
    assert start.whole == isinstance(plan, Demonstration)
    assert bool(given) == (plan not in (Bare(), Hint(2, where="prompt")))


@pytest.mark.parametrize(
    "algo", ["rft", "uft", "uft_adaptive", "r3", "adaback", "questa", "prefix_rft", "luffy", "chord_phi", "pope"]
)
def test_a_step_has_the_groups_and_weights_of_the_training_loop(
    algo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lab's rollouts, played back through the agent loop and read from verl's data plane."""
    here = lab(algo, batch_size=4, T_hint=3) if algo == "uft" else lab(algo, batch_size=4)
    e, s = here.experiment, SimpleNamespace(**hook_settings(here.experiment))
    stage = Reinforcement(here, {k: v.requires_grad_() for k, v in model.load(BASE)[1].items()}, RunDir(tmp_path))
    batch = ROWS[:4]
    read = [{"raw_prompt": list(row["prompt"]), "extra_info": row["extra_info"], "hint": row["hint"]} for row in batch]
    planned = plan_batch(read, settings=stage.settings, step=1, validate=False, memory=stage.memory)
    rollouts = stage._rollouts(batch, planned, 1)
    flat = [one for group in rollouts for one in group]
    with torch.no_grad():
        scored = score(stage.weights, here.shape, [o.start.prompt for o in flat], [o.response for o in flat])
    mine = stage._groups(batch, planned, rollouts, scored, scored.log_probs, 1)

    rows: dict[str, dict[str, Any]] = {}
    shown, place = set(), 0
    for number, (row, column, group) in enumerate(zip(batch, planned, rollouts, strict=True)):
        for session, one in enumerate(group):
            key = f"{number:04d}_{session:02d}_0"
            asked = {**row, "raw_prompt": row["prompt"], "global_steps": 1, "session_id": session, HINT_COLUMN: column}
            done = asyncio.run(loop(here, ScriptedEngine(one.generated)).run({}, **asked))
            assert (list(done.prompt_ids), list(done.response_ids)) == (one.start.prompt, one.response)
            length, record = len(one.response), done.extra_fields["uft"]
            rewards = torch.zeros(length)
            rewards[-1] = 1.0 if record.get("demonstration") else done.reward_score
            shown |= {key} if record.get("demonstration") else set()
            columns = {"old_log_probs": scored.log_probs, "ref_log_prob": scored.log_probs, "entropy": scored.entropy}
            rows[key] = {name: values[place, :length] for name, values in columns.items()} | {
                "extra_fields": {"uft": record},
                "responses": torch.tensor(done.response_ids),
                "response_mask": torch.tensor(done.response_mask),
                "rm_scores": rewards,
            }
            place += 1
    data_plane(monkeypatch, weighing, rows)
    keys = KVBatchMeta(keys=list(rows), tags=[{} for _ in rows], partition_id="train")
    problems = {f"{n:04d}": {**row, "raw_prompt": row["prompt"]} for n, row in enumerate(batch)}
    how: dict[str, Any] = {"failed": (), "demonstrations": shown, "step": 1, "reference": True, "shaped": False}
    _, theirs = weighing.read_groups(keys, **how, problems=problems)
    for own, real in zip(mine, theirs, strict=True):
        for name in ("scores", "ok", "given", "gen", "demo", "old", "ref", "entropy"):
            assert torch.equal(getattr(own, name), getattr(real, name)), name
        for name in ("plans", "key", "step", "segments", "hinted", "messages", "solution"):
            assert getattr(own, name) == getattr(real, name), name
        weights, real_weights = (e.algorithm.weigh(group, s) for group in (own, real))
        for name in ("advantage", "mask"):
            of_own, of_real = getattr(weights, name), getattr(real_weights, name)
            assert of_own is of_real is None or torch.equal(of_own, of_real), name
    assert any(group.given.any() or group.demo.any() for group in mine) == (algo not in ("rft", "questa", "pope"))


def loop(here: Lab, engine: ScriptedEngine) -> HintedAgentLoop:
    """A run's loop on the lab's tokenizer, without verl's constructor."""
    e, made = here.experiment, object.__new__(HintedAgentLoop)
    how = {"reward": None, "answer_format": "tags"}
    made.config = OmegaConf.create(
        {"uft": uft_section(e, RunDir(Path("out"))), "reward": {"custom_reward_function": {"reward_kwargs": how}}}
    )
    made.rollout_config = SimpleNamespace(response_length=e.response_length, prompt_length=e.prompt_length)
    made.server_manager, made.tokenizer = engine, here.tokenizer
    made.apply_chat_template_kwargs = here.template
    made.loop = SimpleNamespace(run_in_executor=_at_once)
    made._cap_text_prompt_length = lambda ids: ids
    return made


async def _at_once(_: Any, function: Any, *arguments: Any) -> Any:
    return function(*arguments)


def as_read(row: Any, record: dict[str, Any]) -> dict[str, Any]:
    """What the loop is given of a row."""
    column = {"plans": [record], "n_segments": 5, "key": "k", "prompt_key": "p", "greedy": None}
    return {**row, "raw_prompt": row["prompt"], "global_steps": 1, "session_id": 0, HINT_COLUMN: column}
