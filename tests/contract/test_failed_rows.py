"""A verdict that failed has no vote in any estimator."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from tensordict import TensorDict
from transfer_queue.metadata import KVBatchMeta
from verl import DataProto
from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories

import recipes.verl_plugin.advantage  # noqa: F401
from recipes.verl_plugin import failed_rows
from recipes.verl_plugin.penalty import with_penalty
from tests.helpers.data_planes import data_plane

pytestmark = pytest.mark.contract


KEYS = ["a_0_0", "a_1_0", "a_2_0", "a_3_0", "b_0_0", "b_1_0"]


SCORES = [1.0, 1.0, 1.0, 0.0, 1.0, 0.0]


REPORTS: list[dict[str, Any]] = [{}, {"acc": 1.0}, {"reward_error": 0.0}, {"timeout": 1.0}, {}, {}]


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """A data plane of rows in memory: prompt a with a hint token, whose last rollout has no verdict, and prompt b."""
    mask = torch.tensor([0, 1, 1])
    rows: dict[str, dict[str, Any]] = {
        key: {
            "response_mask": mask.clone(),
            "loss_mask": mask.clone(),
            "uid": key[0],
            "extra_fields": {"uft": {}, "reward_extra_info": report},
        }
        for key, report in zip(KEYS, REPORTS, strict=True)
    }

    return data_plane(monkeypatch, failed_rows, rows)


def batch() -> KVBatchMeta:
    return KVBatchMeta(keys=list(KEYS), tags=[{"seq_len": 5} for _ in KEYS], partition_id="train")


def test_the_failed_row_is_masked_and_no_other(plane: dict[str, dict[str, Any]]) -> None:
    given = batch()
    assert failed_rows.mask_failed(given) == ({"a_3_0"}, set())
    for key, row in plane.items():
        expected = [0, 0, 0] if key == "a_3_0" else [0, 1, 1]
        assert row["response_mask"].tolist() == row["loss_mask"].tolist() == expected
    assert [tag.get("is_padding", False) for tag in given.tags] == [key == "a_3_0" for key in KEYS]


def test_nothing_is_touched_where_every_verdict_is_there(plane: dict[str, dict[str, Any]]) -> None:
    plane["a_3_0"]["extra_fields"] = {"uft": {}, "reward_extra_info": {"timeout": 0.0}}
    plane["a_2_0"]["extra_fields"] = {"uft": {}}
    assert failed_rows.mask_failed(batch()) == (set(), set())
    assert all(row["response_mask"].tolist() == [0, 1, 1] for row in plane.values())


ESTIMATORS = ("uft", "grpo", "rloo", "opo", "gpg", "grpo_vectorized", "reinforce_plus_plus_baseline", "score")


def estimated(plane: dict[str, dict[str, Any]], estimator: str, keys: list[str]) -> torch.Tensor:
    """verl's advantages of these rows, (rows, 3)."""
    rewards = torch.zeros(len(keys), 3)
    rewards[:, 2] = torch.tensor([SCORES[KEYS.index(key)] for key in keys])
    columns = {
        "token_level_rewards": rewards,
        "response_mask": torch.stack([plane[key]["response_mask"] for key in keys]),
    }
    data = DataProto(batch=TensorDict(columns, batch_size=len(keys)))
    data.non_tensor_batch["uid"] = np.array([plane[key]["uid"] for key in keys], dtype=object)
    done = compute_advantage_for_multi_trajectories(
        data, batch_keys=keys, adv_estimator=estimator, config={}, num_repeat=4
    )
    found: torch.Tensor = done.batch["advantages"]
    return found


@pytest.mark.parametrize("also", ["a_2_0", "b_0_0", None])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_estimators_never_see_a_failed_row(estimator: str, also: str | None, plane: dict[str, dict[str, Any]]) -> None:
    """Whatever they count or compare is as in a batch without it, and the row itself gets zeros, never NaN."""
    if also is not None:
        plane[also]["extra_fields"] = {"reward_extra_info": {"reward_error": 1.0}}
    given = batch()
    failed, _ = failed_rows.mask_failed(given)
    voting = [key for key in KEYS if key not in failed]
    expected = estimated(plane, estimator, voting)

    def compute(part: KVBatchMeta) -> KVBatchMeta:
        for key, values in zip(part.keys, estimated(plane, estimator, part.keys), strict=True):
            plane[key]["advantages"] = values
        return KVBatchMeta(keys=part.keys, tags=part.tags, partition_id="train", fields=["advantages"])

    done = failed_rows.without_failed(given, failed, compute)
    assert done.keys == KEYS
    assert done.fields == ["advantages"]
    for key in KEYS:
        found = plane[key]["advantages"]
        if key in failed:
            assert found.tolist() == [0, 0, 0]
        else:
            assert torch.equal(found, expected[voting.index(key)])


def test_long_answers_are_penalised_in_what_is_learned_and_nowhere_else(plane: dict[str, dict[str, Any]]) -> None:
    """A penalty of .5 over the last 4 of 10 tokens; the row whose verdict failed has none, nor a part in the means."""
    lengths = dict(zip(KEYS, [6, 8, 10, 10, 7, 9], strict=True))
    for key, score in zip(KEYS, SCORES, strict=True):
        plane[key]["extra_fields"]["uft"] = {"gen_tokens": lengths[key]}
        plane[key]["rm_scores"] = torch.tensor([0.0, 0.0, score])
    given, metrics = batch(), {}
    failed, _ = failed_rows.mask_failed(given)

    def compute(part: KVBatchMeta) -> KVBatchMeta:
        for key in part.keys:
            plane[key]["advantages"] = plane[key]["rm_scores"]
        return KVBatchMeta(keys=part.keys, tags=part.tags, partition_id="train", fields=["advantages"])

    penalised = partial(with_penalty, compute, metrics, longest=10, buffer=4, factor=0.5)
    done = failed_rows.without_failed(given, failed, penalised)
    assert (done.keys, done.fields) == (KEYS, ["advantages"])
    learned = [1.0, 0.75, 0.5, 0.0, 0.875, -0.375]
    for name in ("advantages", "token_level_rewards"):
        assert [plane[key][name].tolist() for key in KEYS] == [[0.0, 0.0, each] for each in learned]
    assert [float(plane[key]["rm_scores"].sum()) for key in KEYS] == SCORES
    assert metrics == {"uft/overlong_penalty": -1.25 / 5, "uft/overlong_share": 4 / 5}


@pytest.mark.parametrize("estimator", ["uft", "grpo", "rloo", "opo"])
def test_a_failed_verdict_has_no_vote_in_its_group(estimator: str, plane: dict[str, dict[str, Any]]) -> None:
    """[1, 1, 1, failed] gives nobody an advantage: before, the failed one had -1.5 and the others .5."""
    failed, _ = failed_rows.mask_failed(batch())
    found = estimated(plane, estimator, [key for key in KEYS if key not in failed])
    assert torch.allclose(found[:3] * torch.tensor([0, 1, 1]), torch.zeros(3, 3), atol=1e-5)
    assert found[3, 1] > 0 > found[4, 1]


def test_gae_and_its_whitening_leave_out_the_failed_row(plane: dict[str, dict[str, Any]]) -> None:
    """Values of .5 everywhere: advantages .5 on four rows and -.5 on one, two tokens each. Their mean is .3 and their
    variance 1.6 / 9; with the failed row, whose score is 0, a second row would be at -.5."""
    given = batch()
    failed, _ = failed_rows.mask_failed(given)

    def compute(part: KVBatchMeta) -> KVBatchMeta:
        rewards = torch.zeros(len(part.keys), 3)
        rewards[:, 2] = torch.tensor([SCORES[KEYS.index(key)] for key in part.keys])
        columns = {
            "token_level_rewards": rewards,
            "values": torch.full((len(part.keys), 3), 0.5),
            "response_mask": torch.stack([plane[key]["response_mask"] for key in part.keys]),
        }
        data = DataProto(batch=TensorDict(columns, batch_size=len(part.keys)))
        data.non_tensor_batch["uid"] = np.array([plane[key]["uid"] for key in part.keys], dtype=object)
        done = compute_advantage_for_multi_trajectories(
            data, batch_keys=part.keys, adv_estimator="gae", gamma=1.0, lam=1.0, config={}, num_repeat=4
        )
        for name in ("advantages", "returns"):
            for key, values in zip(part.keys, done.batch[name], strict=True):
                plane[key][name] = values
        return KVBatchMeta(keys=part.keys, tags=part.tags, partition_id="train", fields=["advantages", "returns"])

    failed_rows.without_failed(given, failed, compute)
    for key, score in zip(KEYS, SCORES, strict=True):
        expected = 0.0 if key in failed else (0.2 if score else -0.8) / (1.6 / 9) ** 0.5
        assert plane[key]["advantages"][1:].tolist() == pytest.approx([expected] * 2, abs=1e-5)
        assert plane[key]["returns"][1:].tolist() == pytest.approx([0.0 if key in failed else score] * 2)


def test_what_nobody_generated_is_in_no_figure_of_rows(plane: dict[str, dict[str, Any]]) -> None:
    """A demonstration and verl's padding would be rows on which engine and trainer agree to the last bit."""
    plane["a_1_0"]["extra_fields"] = {"uft": {"demonstration": 1}}
    given = batch()
    failed, shown = failed_rows.mask_failed(given)
    assert (failed, shown) == ({"a_3_0"}, {"a_1_0"})
    given.tags[5]["is_padding"] = True
    seen: list[str] = []

    def compute(part: KVBatchMeta) -> KVBatchMeta:
        seen.extend(part.keys)
        for key in part.keys:
            plane[key]["rollout_is_weights"] = torch.ones(3)
        return KVBatchMeta(keys=part.keys, tags=part.tags, partition_id="train", fields=["rollout_is_weights"])

    failed_rows.without_failed(given, failed, compute)
    assert seen == ["a_0_0", "a_2_0", "b_0_0"]
    assert [float(plane[key]["rollout_is_weights"].sum()) for key in KEYS] == [3, 0, 3, 0, 3, 0]


@pytest.mark.parametrize("over_the_limit", [True, False])
def test_a_step_without_any_verdict_ends_the_run_by_name(
    over_the_limit: bool, plane: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """verl would end it later with "response_mask must contain at least one valid token"."""
    from recipes.verl_plugin.reward_watch import RewardFailure
    from recipes.verl_plugin.trainer import UnifiedTrainer

    for row in plane.values():
        row["extra_fields"] = {"reward_extra_info": {"timeout": 1.0, "pred": "took 9 s"}}
    trainer: Any = object.__new__(UnifiedTrainer)
    trainer.global_steps, trainer._failed_rows, trainer._demonstrations, trainer._failure = 3, set(), set(), None
    shown = RewardFailure("100% of the answers of step 3 were not scored")

    def metrics(given: KVBatchMeta, step: int) -> None:
        assert trainer._failed_rows == set(given.keys) == set(KEYS)
        trainer._failure = shown if over_the_limit else None

    monkeypatch.setattr(trainer, "_rollout_metrics", metrics)
    with pytest.raises(RewardFailure, match=r"of step 3 (were not scored|could be scored)") as refused:
        trainer._balance_batch(batch(), metrics={})
    if not over_the_limit:
        assert "6 were not scored because the verifier exceeded its time or memory limit" in str(refused.value)
        assert "REWARD_SECONDS" in str(refused.value)
        assert "took 9 s" in str(refused.value)
