"""What an algorithm says of each prompt, as columns of verl's data plane: every row, padding and failures included."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from transfer_queue.metadata import KVBatchMeta
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

from recipes.algorithms import get_algorithm
from recipes.algorithms.base import Bare, Demonstration, Group, Hint, Kept, Term, Weights
from recipes.common.run_dir import RunDir
from recipes.verl_plugin import trainer as trainer_module
from recipes.verl_plugin import weighing
from recipes.verl_plugin.actor_loss import TERMS, actor_loss, term_column
from recipes.verl_plugin.agent_loop import plan_batch
from recipes.verl_plugin.reward_signal import moved_by_reward
from recipes.verl_plugin.trainer import MEMORY, UnifiedTrainer
from recipes.verl_plugin.weighing import CORRECTION, read_groups, restore_masks, weigh

pytestmark = pytest.mark.contract

UFT = get_algorithm("uft")
S = SimpleNamespace(sft_loss_coef=0.001, hint_nll_agg="token-mean", response_length=8)
# Prompt 0: a hinted rollout, one whose verdict failed, a demonstration. Prompt 1: a bare rollout. verl's padding, which
# copies its first row's record.
KEYS = ["1-0_0_0", "1-0_1_0", "1-0_2_0", "1-1_0_0", "padx_0_0"]
FAILED, SHOWN = {"1-0_1_0"}, {"1-0_2_0"}
HINTED = {"length": 2, "n_segments": 3, "hint_tokens": 2, "prompt_key": "p0"}
RECORDS = [HINTED, HINTED, {**HINTED, "length": 0, "hint_tokens": 0, "demonstration": 1}]
RECORDS += [{"length": 0, "n_segments": 3, "hint_tokens": 0, "prompt_key": "p1"}, HINTED]
MASKS = [[0, 0, 1, 1], [0, 0, 0], [0, 0, 0, 0, 0], [1, 1], [0]]
SCORES = [0.5, 0.7, 1.0, 0.1, 0.0]


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """A data plane in memory."""
    rows: dict[str, dict[str, Any]] = {}
    for key, record, mask, score in zip(KEYS, RECORDS, MASKS, SCORES, strict=True):
        length = len(mask)
        scores = torch.zeros(length)
        scores[-1] = score
        rows[key] = {
            "extra_fields": {"uft": record},
            "responses": torch.arange(length),
            "response_mask": torch.tensor(mask),
            "loss_mask": torch.tensor(mask),
            "old_log_probs": -torch.ones(length),
            "entropy": torch.full((length,), 0.5),
            "rm_scores": scores,
        }

    def get(keys: list[str], partition_id: str, select_fields: list[str]) -> Any:
        found: dict[str, Any] = {}
        for name in select_fields:
            values = [rows[key][name] for key in keys]
            nested = isinstance(values[0], torch.Tensor)
            found[name] = torch.nested.as_nested_tensor(values, layout=torch.jagged) if nested else values
        return found

    def put(keys: list[str], partition_id: str, fields: TensorDict) -> Any:
        for name, values in fields.items():
            for key, value in zip(keys, values.unbind(), strict=True):
                rows[key][name] = value
        return SimpleNamespace(fields=["old ones", *fields.keys()])

    monkeypatch.setattr(weighing.tq, "kv_batch_get", get)
    monkeypatch.setattr(weighing.tq, "kv_batch_put", put)
    return rows


def batch() -> KVBatchMeta:
    padding = [{"is_padding": key in SHOWN or key.startswith("pad")} for key in KEYS]
    return KVBatchMeta(keys=list(KEYS), tags=padding, partition_id="train")


def groups(**more: Any) -> tuple[list[list[int]], list[Group]]:
    given: dict[str, Any] = {"failed": FAILED, "demonstrations": SHOWN, "step": 1, "reference": False, "shaped": False}
    return read_groups(batch(), **{**given, **more})


@pytest.mark.usefixtures("plane")
def test_groups_hold_what_each_token_is_and_no_padding() -> None:
    problem = {"raw_prompt": [{"role": "user", "content": "q"}], "hint": ["a", "b"], "answer": "ab<answer>"}
    found = groups(problems={"1-0": problem}, text=lambda ids: f"{len(ids)} tokens")
    rows, (first, second) = found
    assert first.entropy is not None
    assert first.entropy[1].tolist() == [0.5] * 3 + [0.0] * 2
    assert (first.messages, first.solution) == (problem["raw_prompt"], "ab<answer>")
    assert first.texts == ("4 tokens", "3 tokens", "5 tokens")
    assert (list(second.messages), second.solution) == ([], "")
    assert rows == [[0, 1, 2], [3]]
    assert first.plans == (Hint(2), Hint(2), Demonstration())
    assert second.plans == (Bare(),)
    assert first.ok.tolist() == [True, False, True]
    assert first.scores.tolist() == [0.5, 0.0, 1.0]
    assert first.given.int().tolist() == [[1, 1, 0, 0, 0], [0] * 5, [0] * 5]
    assert first.gen.int().tolist() == [[0, 0, 1, 1, 0], [0] * 5, [0] * 5]
    assert first.demo.int().tolist() == [[0] * 5, [0] * 5, [1] * 5]
    assert first.scored.tolist() == [True, False, False]
    assert (first.key, second.key, first.segments) == ("p0", "p1", 3)


def test_every_row_gets_every_column_and_failures_and_padding_get_zeros(plane: dict[str, dict[str, Any]]) -> None:
    everything = replace(UFT, weigh=lambda group, s: Weights(torch.ones_like(group.old), terms=(all_of(group),)))
    found = weigh(everything, "uft", S, batch(), *groups(), updates=1, votes=4)
    assert found.batch.fields == ["old ones", "advantages", "returns", term_column(0)]
    assert json.loads(found.batch.extra_info[TERMS]) == [["all", 0.5, ""]]
    for name in ("advantages", "returns", term_column(0)):
        assert [len(plane[key][name]) for key in KEYS] == [4, 3, 5, 2, 1]
        assert not plane["1-0_1_0"][name].any()
        assert not plane["padx_0_0"][name].any()
    # 4 and 5 tokens of the rows with a verdict of one prompt, 2 of the other; padding is none.
    assert plane["1-1_0_0"][term_column(0)].tolist() == pytest.approx([1 / 11] * 2)


def test_what_the_engine_did_not_draw_keeps_its_weight_whatever_verls_correction_says(
    plane: dict[str, dict[str, Any]],
) -> None:
    """verl gives 0 outside the response mask; a prefix that is trained would then have no loss."""
    drawn = [[0.0, 0.0, 0.5, 2.0], [0.0] * 3, [0.0] * 5, [0.25, 1.0], [0.0]]
    for key, weights in zip(KEYS, drawn, strict=True):
        plane[key][CORRECTION] = torch.tensor(weights)
    everything = replace(UFT, weigh=lambda group, s: Weights(mask=group.gen | group.given, terms=(all_of(group),)))
    corrected = KVBatchMeta(keys=list(KEYS), tags=batch().tags, partition_id="train", fields=[CORRECTION])
    weigh(everything, "uft", S, corrected, *groups(), updates=1, votes=4)
    found = [plane[key][CORRECTION].tolist() for key in KEYS]
    assert found == [[1, 1, 0.5, 2], [1] * 3, [1] * 5, [0.25, 1], [0]]
    # A term on generated tokens is corrected as PPO's loss is: 11 tokens, as in the test before.
    assert plane["1-0_0_0"][term_column(0)].tolist() == pytest.approx([1 / 11, 1 / 11, 0.5 / 11, 2 / 11])
    assert plane["1-0_2_0"][term_column(0)].tolist() == pytest.approx([1 / 11] * 5)


def test_weights_of_a_term_that_come_from_rewards_move_their_rows(plane: dict[str, dict[str, Any]]) -> None:
    """As srft's: PPO's advantage is 0, the reward is in a term."""
    for rewarded, coef, expected in ((True, 1.0, {3}), (False, 1.0, set()), (True, 0.0, set())):
        found = weigh(
            replace(UFT, weigh=partial(by_reward, coef, rewarded)), "uft", S, batch(), *groups(), updates=1, votes=4
        )
        assert found.rewarded == expected
        moved = moved_by_reward(found.batch, found.rewarded)
        assert moved == [row in expected for row in range(5)]


def by_reward(coef: float, rewarded: bool, group: Group, s: Any) -> Weights:
    """-1 on the second prompt's generated tokens."""
    weights = -group.gen.float() * (group.key == "p1")
    return Weights(group.gen * 0.0, terms=(Term(weights, "own", coef=coef, rewarded=rewarded),))


@pytest.mark.parametrize(
    ("algo", "expected"),
    [
        ("srft", {"demonstration_nll": False, "demonstration": True, "own": True}),
        ("luffy", {"demonstration": True}),
        ("uft", {"hint_nll": False}),
    ],
)
def test_rewards_in_terms_are_declared(algo: str, expected: dict[str, bool]) -> None:
    of = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 0]]).bool()
    group = Group(
        scores=torch.tensor([1.0, 0.0, 1.0]),
        ok=torch.ones(3).bool(),
        plans=(Bare(), Bare(), Demonstration()),
        given=of & False,
        gen=of,
        demo=torch.tensor([[0] * 3, [0] * 3, [1] * 3]).bool(),
        old=torch.zeros(3, 3),
        key="p",
        step=1,
        entropy=torch.ones(3, 3),
    )
    assert {term.name: term.rewarded for term in get_algorithm(algo).weigh(group, S).terms} == expected


def all_of(group: Group) -> Term:
    return Term((group.given | group.gen | group.demo).float(), "all", coef=0.5)


def test_a_term_without_weights_is_not_sent(plane: dict[str, dict[str, Any]]) -> None:
    for record in RECORDS:
        assert "hint_tokens" in record
    for row in plane.values():
        row["extra_fields"] = {"uft": {**row["extra_fields"]["uft"], "hint_tokens": 0}}
    found = weigh(UFT, "uft", S, batch(), *groups(), updates=1, votes=4)
    assert json.loads(found.batch.extra_info[TERMS]) == []


def test_the_hints_term_is_divided_by_the_hint_tokens_of_an_update(plane: dict[str, dict[str, Any]]) -> None:
    found = weigh(UFT, "uft", S, batch(), *groups(), updates=2, votes=2)
    assert json.loads(found.batch.extra_info[TERMS]) == [["hint_nll", 0.001, ""]]
    assert plane["1-0_0_0"][term_column(0)].tolist() == [1.0, 1.0, 0.0, 0.0]
    assert "advantages" not in plane["1-0_0_0"], "verl's estimator stays"


def test_a_prompt_without_advantages_of_its_own_keeps_the_estimators(plane: dict[str, dict[str, Any]]) -> None:
    for row in plane.values():
        row["advantages"] = torch.full_like(row["old_log_probs"], 0.25)
    some = replace(
        UFT, weigh=lambda group, s: Weights(torch.ones_like(group.old) if group.key == "p0" else None, terms=())
    )
    weigh(some, "uft", S, batch(), *groups(), updates=1, votes=4)
    assert [plane[key]["advantages"].tolist() for key in KEYS[:4]] == [[1.0] * 4, [0.0] * 3, [1.0] * 5, [0.25] * 2]


def test_a_penalty_on_rewards_takes_nothing_off_a_demonstration(plane: dict[str, dict[str, Any]]) -> None:
    for key, row in plane.items():
        silent = key in FAILED | SHOWN or key.startswith("pad")
        row["token_level_rewards"] = torch.zeros_like(row["rm_scores"]) if silent else row["rm_scores"] - 0.01
    _, (first, second) = groups(shaped=True)
    assert first.scores.tolist() == pytest.approx([0.5 - 4 * 0.01, 0, 1])
    assert second.scores.tolist() == pytest.approx([0.1 - 2 * 0.01])
    assert first.verdicts.tolist() == pytest.approx([0.5, 0, 1])
    assert second.verdicts.tolist() == pytest.approx([0.1])


def test_a_mask_of_ones_own_takes_the_masks_place_until_the_update_is_done(plane: dict[str, dict[str, Any]]) -> None:
    none = replace(UFT, weigh=lambda group, s: Weights(mask=torch.zeros_like(group.gen)))
    found = weigh(none, "uft", S, batch(), *groups(), updates=1, votes=4)
    assert not any(plane[key][name].any() for key in KEYS for name in ("response_mask", "loss_mask"))
    restore_masks(found.batch, found.masks)
    assert [plane[key]["response_mask"].tolist() for key in KEYS] == MASKS


def test_a_row_is_moved_by_its_reward_where_a_trained_token_has_an_advantage(plane: dict[str, dict[str, Any]]) -> None:
    advantages = [[0, 0, 0.5, 0.5], [0, 0, 0], [1, 1, 1, 1, 1], [0.0, -0.2], [0]]
    for key, each in zip(KEYS, advantages, strict=True):
        plane[key]["advantages"] = torch.tensor(each, dtype=torch.float)
    # The demonstration's tokens are not trained by PPO.
    assert moved_by_reward(batch()) == [True, False, False, True, False]
    plane["1-0_0_0"]["response_mask"] = torch.zeros(4, dtype=torch.long)
    assert moved_by_reward(batch()) == [False, False, False, True, False]


@pytest.mark.usefixtures("plane")
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


def test_the_worker_names_a_column_that_has_not_arrived() -> None:
    from verl.utils import tensordict_utils as tu

    data = TensorDict({"response_mask": torch.ones(1, 2)}, batch_size=1)
    tu.assign_non_tensor(
        data, **{TERMS: json.dumps([["hint_nll", 1.0, ""]]), "global_batch_size": 1, "batch_num_tokens": 2}
    )
    with pytest.raises(KeyError, match=term_column(0)):
        actor_loss(None, {"log_probs": None}, data)


# --- memory ---------------------------------------------------------------------------------------------------------


def counted(group: Group, past: Any, common: Any, s: Any) -> Kept:
    """How often a prompt was seen, and the keys of all so far in the order they came."""
    return (past or 0) + 1, [*(common or []), group.key], ()


REMEMBERING = replace(UFT, name="counting", remember=counted, rollout=lambda at, s, rng: Hint(at.past or 0))


def remembering(tmp_path: Path, resume_from: Path | None = None) -> UnifiedTrainer:
    made = object.__new__(UnifiedTrainer)
    made._algorithm, made._settings = REMEMBERING, S
    made.memory = {"past": {}, "common": None}
    uft = {"record": {}, "keep_checkpoints": 2, "hf_dtype": "float32"}
    found = {"trainer": {"resume_from_path": None if resume_from is None else str(resume_from)}, "uft": uft}
    made.config = OmegaConf.create({**found, "actor_rollout_ref": {"model": {"path": "m"}}})
    made.run_dir = trainer_module.RunDir(tmp_path)
    made.records = SimpleNamespace(phase=lambda *_: None)  # type: ignore[assignment]
    made._recall()
    return made


@pytest.mark.usefixtures("plane")
def test_what_is_remembered_is_in_the_checkpoint_before_it_counts_as_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = remembering(tmp_path)
    _, known = groups()
    first._remember(known[::-1])
    first._remember(known)
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
