"""Which prompts a step trains on under --dynamic_sampling, and where verl lets us choose them."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torchdata.stateful_dataloader import StatefulDataLoader
from transfer_queue.metadata import KVBatchMeta
from verl.trainer.ppo.utils import create_rl_sampler
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils.dataset.rl_dataset import collate_fn

from recipes.common.errors import ExperimentError
from recipes.flags.resolve import build_experiment
from recipes.run.stages import stage_overrides
from recipes.settings.profiles import PROFILES
from recipes.verl_plugin import dynamic_sampling
from recipes.verl_plugin.agent_loop import rows_of
from recipes.verl_plugin.dynamic_sampling import VariedGroups, chosen, prompts_to_draw, with_variance
from recipes.verl_plugin.trainer import UnifiedTrainer
from tests.helpers.verl_configs import reinforcement

pytestmark = pytest.mark.contract

N = 2
"""Rollouts of a prompt."""

# --- the choice, as a pure function ----------------------------------------------------------------------------------

FLAGS = st.lists(st.booleans(), min_size=1, max_size=40)


@given(FLAGS, st.integers(1, 12), st.randoms())
def test_prompts_with_variance_come_first_and_in_the_order_drawn(flags: list[bool], size: int, shuffle: Any) -> None:
    varied = {f"{place:03d}": flag for place, flag in enumerate(flags)}
    found = chosen(varied, size)
    assert len(found) == min(size, len(flags))
    assert found == sorted(set(found))
    left = varied.keys() - set(found)
    if any(not varied[uid] for uid in found):
        assert not any(varied[uid] for uid in left)
    elif left:
        assert max(found) < min((uid for uid in left if varied[uid]), default="999")
    mixed = list(varied.items())
    shuffle.shuffle(mixed)
    assert chosen(dict(mixed), size) == found


@given(st.integers(1, 50), st.integers(0, 100), st.integers(1, 150))
def test_a_round_draws_what_is_missing_at_least_and_a_batch_at_most(size: int, varied: int, drawn: int) -> None:
    found = prompts_to_draw(size, min(varied, drawn), drawn)
    assert min(size, max(0, size - min(varied, drawn))) <= found <= size


def test_a_round_draws_at_the_rate_so_far() -> None:
    assert prompts_to_draw(8, 6, 8) == 3  # 2 / (6 / 8), rounded up
    assert prompts_to_draw(8, 1, 8) == 8
    assert prompts_to_draw(8, 0, 8) == 8
    assert prompts_to_draw(8, 8, 8) == prompts_to_draw(8, 9, 16) == 0


def row(uid: str, session: int, score: float, **more: Any) -> dict[str, Any]:
    return {"key": f"{uid}_{session}_0", "uft": {"gen_tokens": 5}, "reward": {}, "score": score, **more}


def test_variance_is_that_of_generated_rollouts_with_a_verdict() -> None:
    failed, shown = {"reward": {"timeout": 1.0}}, {"uft": {"gen_tokens": 0, "demonstration": 1}}
    rows = [row("a", 0, 1.0), row("a", 1, 0.1), row("b", 0, 0.1), row("b", 1, 0.1)]
    rows += [row("c", 0, 1.0), row("c", 1, 0.0, **failed), row("d", 0, 0.0), row("d", 1, 1.0, **shown)]
    rows += [row("e", 0, 0.0, **failed), row("e", 1, 1.0, **failed)]
    assert with_variance(rows) == {"a": True, "b": False, "c": False, "d": False, "e": False}


def test_partial_credit_is_no_variance_where_right_is_compared_with_wrong() -> None:
    scores = {"a": (0.0, 0.1), "b": (0.1, 1.0), "c": (0.0, 0.0)}
    rows = [
        {"key": f"{uid}_{session}_0", "uft": {}, "reward": {}, "score": score}
        for uid, both in scores.items()
        for session, score in enumerate(both)
    ]
    assert with_variance(rows) == {"a": True, "b": True, "c": False}
    assert with_variance(rows, by_verdict=True) == {"a": False, "b": True, "c": False}
    made = {algo: config(algo=algo).trainer.v1.sampler.sampler_kwargs.by_verdict for algo in ("rft", "max_rl")}
    assert made == {"rft": False, "max_rl": True}


# --- rounds ----------------------------------------------------------------------------------------------------------


class Plane:
    """verl's data plane and generation: prompts in the order of the data, of which these have variance."""

    def __init__(self, flags: Sequence[bool], monkeypatch: pytest.MonkeyPatch) -> None:
        self.flags, self.drawn, self.asked = list(flags), 0, list[int]()
        self.rows: set[str] = set()
        monkeypatch.setattr(ReplayBuffer, "sample", self.sample)
        monkeypatch.setattr(dynamic_sampling.tq, "kv_batch_get", self.get)
        monkeypatch.setattr(dynamic_sampling.tq, "kv_clear", self.clear)

    def refill(self, count: int) -> int:
        self.asked.append(count)
        return min(count, len(self.flags) - self.drawn)

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[Any, dict[str, float]]:
        uids = [f"1-{place:03d}" for place in range(self.drawn, self.drawn + batch_size)]
        self.drawn += batch_size
        keys = [f"{uid}_{session}_0" for session in range(N) for uid in reversed(uids)]
        self.rows |= set(keys)
        return KVBatchMeta(keys=keys, tags=[{"of": key} for key in keys], partition_id=partition_id), {"verls": 1.0}

    def get(self, keys: list[str], partition_id: str, select_fields: list[str]) -> dict[str, Any]:
        scores = [float(key.endswith("1_0") and self.flags[int(key[2:5])]) for key in keys]
        extra = [{"uft": {"gen_tokens": 10}, "reward_extra_info": {}} for _ in keys]
        return {"extra_fields": extra, "rm_scores": torch.tensor(scores).unsqueeze(-1)}

    def clear(self, keys: list[str], partition_id: str) -> None:
        self.rows -= set(keys)


def buffer(plane: Plane, rounds: int) -> VariedGroups:
    kwargs = {"trainer_mode": "sync", "trainer_config": {}, "max_off_policy_threshold": 1}
    how = {
        "max_off_policy_strategy": "drop",
        "sampler_kwargs": {"rounds": rounds, "by_verdict": False},
        "refill_fn": plane.refill,
    }
    return VariedGroups(**kwargs, **how)


def sampled(plane: Plane, size: int, rounds: int = 3) -> tuple[VariedGroups, Any, dict[str, float]]:
    made = buffer(plane, rounds)
    # Not the class's own: there it is a method of whoever calls.
    batch, metrics = made.sample(global_steps=1, partition_id="train", batch_size=size)
    return made, batch, metrics


def uids(batch: Any) -> list[str]:
    return sorted({key.split("_")[0] for key in batch.keys})


def test_missing_prompts_are_replaced_round_by_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four wanted: two of the first four, then four drawn (2 / (2 / 4)), of which three are as wanted."""
    plane = Plane([True, False, False, True, True, True, False, True, True], monkeypatch)
    made, batch, metrics = sampled(plane, 4)
    assert plane.asked == [4]
    assert uids(batch) == ["1-000", "1-003", "1-004", "1-005"]
    assert [tag["of"] for tag in batch.tags] == batch.keys
    assert plane.rows == set(batch.keys)
    assert {row["key"].split("_")[0] for row in made.thrown} == {"1-001", "1-002", "1-006", "1-007"}
    assert metrics == {
        "verls": 1.0,
        "uft/sampling_rounds": 2,
        "uft/prompts_drawn": 8,
        "uft/groups_kept": 0.5,
        "uft/groups_filled_up": 0,
        "uft/thrown_tokens": 4 * N * 10,
    }


def test_after_the_last_round_prompts_without_variance_fill_the_batch_up(monkeypatch: pytest.MonkeyPatch) -> None:
    plane = Plane([False] * 7 + [True] + [False] * 9, monkeypatch)
    _, batch, metrics = sampled(plane, 4)
    assert plane.asked == [4, 4]
    assert uids(batch) == ["1-000", "1-001", "1-002", "1-007"]
    assert (metrics["uft/sampling_rounds"], metrics["uft/groups_filled_up"]) == (3, 0.75)
    assert metrics["uft/groups_kept"] == pytest.approx(1 / 12)


def test_nothing_is_drawn_again_where_nothing_is_missing_or_no_data_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    plane = Plane([True] * 4, monkeypatch)
    made, batch, metrics = sampled(plane, 4)
    assert (plane.asked, made.thrown, metrics["uft/sampling_rounds"], len(batch.keys)) == ([], [], 1, 4 * N)
    plane = Plane([False] * 5, monkeypatch)
    _, batch, metrics = sampled(plane, 4)
    assert (plane.asked, uids(batch), metrics["uft/prompts_drawn"]) == ([4, 4], [f"1-00{n}" for n in range(4)], 5)


def test_validation_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    plane = Plane([False] * 4, monkeypatch)
    batch, metrics = buffer(plane, 3).sample(global_steps=1, partition_id="val", batch_size=4)
    assert (len(batch.keys), metrics, plane.asked) == (4 * N, {"verls": 1.0}, [])


@given(FLAGS, st.integers(1, 10), st.integers(2, 4))
def test_a_step_is_a_batch_of_prompts_of_which_none_could_be_better(flags: list[bool], size: int, rounds: int) -> None:
    size = min(size, len(flags))
    with pytest.MonkeyPatch.context() as patch:
        plane = Plane(flags, patch)
        made, batch, metrics = sampled(plane, size, rounds)
    taken, known = uids(batch), flags[: plane.drawn]
    assert len(taken) == size
    assert metrics["uft/sampling_rounds"] <= rounds
    assert sum(flags[int(uid[2:])] for uid in taken) == min(size, sum(known))
    assert len(batch.keys) + len(made.thrown) == N * plane.drawn


# --- verl's side -----------------------------------------------------------------------------------------------------


def config(**flags: Any) -> Any:
    flags = {"algo": "rft", "dynamic_sampling": True, **flags}
    return reinforcement(build_experiment(flags, PROFILES["cpu"]))


def test_verl_builds_our_sampler_and_loads_prompts_one_by_one() -> None:
    trainer: Any = object.__new__(PPOTrainerSync)
    trainer.config, trainer.trainer_mode = config(dynamic_sampling_rounds=5), "sync"
    built = trainer._build_replay_buffer()
    assert type(built) is VariedGroups
    assert built.sampler_kwargs["rounds"] == 5
    assert built.refill_fn == trainer._add_prompts_to_generate
    assert trainer.config.data.gen_batch_size == 1
    trainer.config = config(dynamic_sampling=False)
    assert type(trainer._build_replay_buffer()) is ReplayBuffer
    assert trainer.config.data.gen_batch_size is None
    # In a sweep the flag is given to all of its algorithms.
    assert config(algo="una_online").trainer.v1.sampler.custom_sampler.path is None


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("algorithm.filter_groups.enable=true", "use --dynamic_sampling"),
        ("data.gen_batch_size=4", "data.gen_batch_size is set by this run"),
        ("trainer.v1.sampler.custom_sampler.path=mine.py", "sampler.custom_sampler.path is set by this run"),
        ("reward.reward_model.enable=true", "'reward.reward_model.enable' after --"),
    ],
)
def test_overrides_that_would_make_a_step_of_other_prompts_are_refused(override: str, told: str) -> None:
    e = build_experiment({"algo": "rft", "dynamic_sampling": True, "overrides": (override,)}, PROFILES["cpu"])
    with pytest.raises(ExperimentError) as refused:
        stage_overrides(e)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


ROWS = 5


class Data(torch.utils.data.Dataset[dict[str, Any]]):
    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, place: int) -> dict[str, Any]:
        return {
            "raw_prompt": [{"role": "user", "content": f"{place}?"}],
            "extra_info": {"index": place},
            "index": place,
        }


def loader() -> Any:
    how = OmegaConf.create({"shuffle": True, "seed": 3})
    return StatefulDataLoader(
        Data(),
        batch_size=1,
        num_workers=0,
        drop_last=True,
        collate_fn=collate_fn,
        sampler=create_rl_sampler(how, Data()),
    )


def trainer_on(data: Any) -> Any:
    trainer: Any = object.__new__(UnifiedTrainer)
    trainer.config = OmegaConf.create({"uft": {"dynamic_sampling": True}, "data": {"gen_batch_size": 1}})
    trainer.train_dataset, trainer.train_dataloader, trainer.train_dataloader_it = Data(), data, None
    trainer._fetched, trainer.global_steps = (-1, 0), 0
    return trainer


def fetched(trainer: Any, step: int, count: int) -> list[str]:
    """The questions of the next prompts that a step draws."""
    trainer.global_steps = step
    rows = [rows_of(trainer._fetch_one_gen_batch(), ("uid", "raw_prompt")) for _ in range(count)]
    assert [row["uid"] for [row] in rows] == [f"{step:07d}-{place:06d}" for place in range(count)]
    return [row["raw_prompt"][0]["content"] for [row] in rows]


def test_a_step_draws_no_prompt_twice_when_it_comes_past_the_end_of_the_data() -> None:
    trainer = trainer_on(loader())
    fetched(trainer, 1, 3)
    assert len(set(fetched(trainer, 2, ROWS))) == ROWS


def test_no_more_prompts_are_drawn_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[int] = []
    monkeypatch.setattr(PPOTrainerSync, "_add_prompts_to_generate", lambda self, count: added.append(count) or count)
    trainer = trainer_on(loader())
    trainer.records = SimpleNamespace(phase=lambda *_: None)
    fetched(trainer, 1, 3)
    assert (trainer._add_prompts_to_generate(1), trainer._add_prompts_to_generate(4)) == (1, 2)
    fetched(trainer, 2, ROWS)
    assert (trainer._add_prompts_to_generate(4), added) == (0, [1, 2])


@pytest.mark.parametrize("before", range(2 * ROWS + 2))
def test_the_place_in_the_data_goes_into_a_checkpoint_wherever_a_step_ended(before: int) -> None:
    whole = trainer_on(loader())
    for step in range(before):
        fetched(whole, step, 1)
    again = loader()
    again.load_state_dict(whole.train_dataloader.state_dict())
    resumed = trainer_on(again)
    assert fetched(resumed, before, 4) == fetched(whole, before, 4)
    assert fetched(resumed, before + 1, 4) == fetched(whole, before + 1, 4)
