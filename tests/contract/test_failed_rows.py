"""A verdict that failed has no vote, in any estimator, and the others' normaliser does not count it."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tensordict import TensorDict
from transfer_queue.metadata import KVBatchMeta
from verl import DataProto
from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories
from verl.utils import tensordict_utils as tu

import recipes.verl_plugin.advantage  # noqa: F401
from recipes.algorithms.base import Rows
from recipes.verl_plugin import actor_loss, failed_rows
from recipes.verl_plugin.actor_loss import FAILED_ROWS, count_what_votes, row_loss
from recipes.verl_plugin.penalty import with_penalty

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

    def get(keys: list[str], partition_id: str, select_fields: list[str] | None = None) -> Any:
        if select_fields is None:
            return [rows[key] for key in keys]
        found: dict[str, Any] = {name: [rows[key][name] for key in keys] for name in select_fields}
        for name in ("response_mask", "loss_mask", "rm_scores"):
            if name in found:
                found[name] = torch.nested.as_nested_tensor(found[name], layout=torch.jagged)
        return found

    def put(keys: list[str], partition_id: str, fields: TensorDict | None = None, tags: Any = None) -> None:
        for name, values in ({} if fields is None else fields).items():
            for key, value in zip(keys, values.unbind(), strict=True):
                rows[key][name] = value

    monkeypatch.setattr(failed_rows.tq, "kv_batch_get", get)
    monkeypatch.setattr(failed_rows.tq, "kv_batch_put", put)
    return rows


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


def nested(*rows: list[Any]) -> torch.Tensor:
    return torch.nested.as_nested_tensor([torch.tensor(row) for row in rows], layout=torch.jagged)


def two_of_four() -> TensorDict:
    """Two rollouts of scores 1 and 0, and two failed ones."""
    columns = {
        "prompts": nested(*[[1]] * 4),
        "responses": nested(*[[1, 1]] * 4),
        "response_mask": nested([1, 1], [1, 1], [0, 0], [0, 0]),
        "advantages": nested([1.0, 1.0], *[[0.0, 0.0]] * 3),
        "ref_log_prob": nested(*[[-1.0, -1.0]] * 4),
    }
    data = TensorDict(columns, batch_size=4)
    tu.assign_non_tensor(data, global_batch_size=4, batch_num_tokens=4, dp_size=1, **{FAILED_ROWS: 2.0})
    return data


def test_unas_mean_is_over_the_rollouts_that_have_a_verdict() -> None:
    """Under sigmoid(0): (.25 + .25) / 2, where 4 rows give .125."""
    settings = SimpleNamespace(beta=0.03, una_target="sigmoid")
    loss, metrics = row_loss("una_online", settings, {"log_probs": nested(*[[-1.0, -1.0, 0.0]] * 4)}, two_of_four())
    assert float(loss) == pytest.approx(0.25)
    assert float(metrics["score"].values[0]) == pytest.approx(0.5)


def test_a_loss_that_looks_at_no_mask_learns_nothing_from_failed_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def own(log_probs: torch.Tensor, rows: Rows, s: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        errors = (log_probs.sum(-1) - rows.scores).square()
        return errors, {"error": errors.detach()}

    monkeypatch.setattr(actor_loss, "get_algorithm", lambda name: SimpleNamespace(loss=own))
    values = torch.tensor([-1.0, -1.0, 0.0] * 4, requires_grad=True)
    log_probs = torch.nested.nested_tensor_from_jagged(values, torch.arange(0, 13, 3))
    loss, metrics = row_loss("mine.py", None, {"log_probs": log_probs}, two_of_four())
    loss.backward()
    assert loss.item() == float(metrics["error"].values[0]) == pytest.approx(((-2 - 1) ** 2 + (-2) ** 2) / 2)
    assert values.grad is not None
    assert values.grad.view(4, 3).tolist() == [[-3, -3, 0], [-2, -2, 0], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("name", ["a root", "a mean over rows"])
def test_a_loss_sees_no_row_without_a_verdict(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The root's gradient at 0 times a mask of 0 is NaN; a mean over rows teaches each of them."""

    def own(log_probs: torch.Tensor, rows: Rows, s: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        total = (log_probs * rows.gen).sum(-1)
        if name == "a root":
            return -rows.scores * (total * total).sqrt(), {"total": total.detach()}
        return -((rows.scores - log_probs.mean(-1).mean()) ** 2), {"total": total.detach()}

    monkeypatch.setattr(actor_loss, "get_algorithm", lambda name: SimpleNamespace(loss=own))
    values = torch.tensor([-1.0, -2.0, 0.0, -1.0, -2.0, 0.0] + [0.0, -0.0, 0.0] * 2, requires_grad=True)
    log_probs = torch.nested.nested_tensor_from_jagged(values, torch.arange(0, 13, 3))
    loss, metrics = row_loss("mine.py", None, {"log_probs": log_probs}, two_of_four())
    loss.backward()
    assert values.grad is not None
    assert values.grad.isfinite().all()
    assert values.grad.view(4, 3)[2:].eq(0).all()
    assert values.grad.view(4, 3)[:2].ne(0).any()
    assert float(metrics["total"].values[0]) == -3.0
    # Where none of a micro-batch has one: the same figures, all 0, and a gradient of 0.
    nobody = two_of_four()
    nobody["response_mask"] = nested(*[[0, 0]] * 4)
    values.grad = None
    loss, metrics = row_loss("mine.py", None, {"log_probs": log_probs}, nobody)
    loss.backward()
    assert (float(loss), float(metrics["total"].values[0])) == (0.0, 0.0)
    assert values.grad is not None
    assert values.grad.eq(0).all()


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
