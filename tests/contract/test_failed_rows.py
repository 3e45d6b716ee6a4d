"""A verdict that failed has no vote, in any estimator, and the others' normaliser does not count it."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tensordict import TensorDict
from verl import DataProto
from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories
from verl.utils import tensordict_utils as tu

import recipes.verl_plugin.advantage  # noqa: F401
from recipes.verl_plugin import failed_rows
from recipes.verl_plugin.actor_loss import FAILED_ROWS, count_what_votes

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

    def get(keys: list[str], partition_id: str, select_fields: list[str]) -> dict[str, Any]:
        found: dict[str, Any] = {name: [rows[key][name] for key in keys] for name in select_fields}
        for name in ("response_mask", "loss_mask"):
            if name in found:
                found[name] = torch.nested.as_nested_tensor(found[name], layout=torch.jagged)
        return found

    def put(keys: list[str], partition_id: str, fields: TensorDict, tags: list[dict[str, Any]]) -> None:
        for number, key in enumerate(keys):
            for name in ("response_mask", "loss_mask"):
                rows[key][name] = fields[name].unbind()[number]
            rows[key]["uid"] = list(fields["uid"])[number]

    monkeypatch.setattr(failed_rows.tq, "kv_batch_get", get)
    monkeypatch.setattr(failed_rows.tq, "kv_batch_put", put)
    return rows


def batch() -> Any:
    return SimpleNamespace(keys=list(KEYS), tags=[{"seq_len": 5} for _ in KEYS], partition_id="train")


def test_the_failed_row_is_masked_and_no_other(plane: dict[str, dict[str, Any]]) -> None:
    given = batch()
    assert failed_rows.mask_failed(given) == {"a_3_0"}
    for key, row in plane.items():
        expected = [0, 0, 0] if key == "a_3_0" else [0, 1, 1]
        assert row["response_mask"].tolist() == row["loss_mask"].tolist() == expected
    assert [tag.get("is_padding", False) for tag in given.tags] == [key == "a_3_0" for key in KEYS]


def test_nothing_is_touched_where_every_verdict_is_there(plane: dict[str, dict[str, Any]]) -> None:
    plane["a_3_0"]["extra_fields"] = {"uft": {}, "reward_extra_info": {"timeout": 0.0}}
    plane["a_2_0"]["extra_fields"] = {"uft": {}}
    assert failed_rows.mask_failed(batch()) == set()
    assert all(row["response_mask"].tolist() == [0, 1, 1] for row in plane.values())


def test_where_all_failed_verls_figures_still_have_rows(plane: dict[str, dict[str, Any]]) -> None:
    for row in plane.values():
        row["extra_fields"] = {"reward_extra_info": {"reward_error": 1.0}}
    given = batch()
    assert failed_rows.mask_failed(given) == set(KEYS)
    assert not any(tag.get("is_padding") for tag in given.tags)


@pytest.mark.parametrize("estimator", ["uft", "grpo", "rloo", "reinforce_plus_plus_baseline", "opo", "score"])
def test_a_failed_verdict_has_no_vote_in_its_group(estimator: str, plane: dict[str, dict[str, Any]]) -> None:
    """[1, 1, 1, failed] gives nobody an advantage: before, the failed one had -1.5 and the others .5."""
    failed_rows.mask_failed(batch())
    mask = torch.stack([plane[key]["response_mask"] for key in KEYS])
    rewards = torch.zeros(len(KEYS), 3)
    rewards[:, 2] = torch.tensor(SCORES)
    data = DataProto(batch=TensorDict({"token_level_rewards": rewards, "response_mask": mask}, batch_size=len(KEYS)))
    data.non_tensor_batch["uid"] = np.array([plane[key]["uid"] for key in KEYS], dtype=object)
    done = compute_advantage_for_multi_trajectories(
        data, batch_keys=KEYS, adv_estimator=estimator, config={}, num_repeat=4
    )
    advantages = done.batch["advantages"] * mask
    assert torch.all(advantages[3] == 0)
    if estimator != "score":
        if estimator != "reinforce_plus_plus_baseline":  # whitens over the batch
            assert torch.allclose(advantages[:3], torch.zeros(3, 3), atol=1e-5)
        assert torch.allclose(advantages[0], advantages[2])
        assert advantages[4, 1] > 0 > advantages[5, 1]


def counted(rows: int, tokens: int, failed: float) -> tuple[float, float, float]:
    data = TensorDict({"loss_mask": torch.zeros(2, 3)}, batch_size=2)
    tu.assign_non_tensor(data, global_batch_size=rows, batch_num_tokens=tokens, **{FAILED_ROWS: failed})
    found = count_what_votes(data)
    return found, float(data["global_batch_size"]), float(data["batch_num_tokens"])


def test_losses_divide_by_the_rows_and_tokens_that_vote() -> None:
    assert counted(8, 20, 0.0) == (8, 8, 20)
    assert counted(8, 20, 3.0) == (5, 5, 20)
    assert counted(8, 20, 1.5) == (6.5, 6.5, 20)
    # Nothing votes: a loss of 0 / 1, where verl has 0 / 0.
    assert counted(8, 0, 8.0) == (1, 1, 1)
