"""Losses divide by what votes, and learn nothing from a row whose verdict failed."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu

import recipes.verl_plugin.advantage  # noqa: F401
from recipes.algorithms.base import Rows
from recipes.verl_plugin import actor_loss
from recipes.verl_plugin.actor_loss import FAILED_ROWS, count_what_votes, row_loss

pytestmark = pytest.mark.contract


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
