"""Losses of actor and critic for set_loss_fn: ppo_loss plus the hint's log-likelihood, UNA's regression, value_loss."""

from dataclasses import dataclass
from typing import Any

import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.utils.metric import AggregationType, Metric
from verl.workers.utils.losses import ppo_loss, value_loss
from verl.workers.utils.padding import no_padding_2_padding

from recipes.algorithms.base import HintAggregation
from recipes.alignment import UnaTarget
from recipes.losses.hint_nll import hint_mask, hint_nll_scale, hint_nll_sum
from recipes.losses.una_online import implicit_reward_error

HINT_TOKENS = "uft_hint_tokens"
"""Key under which the trainer hands over the hint tokens of an optimiser step."""

FAILED_ROWS = "uft_failed_rows"
"""Key under which it hands over the rollouts of an optimiser step whose verdict failed; their rows are masked."""


@dataclass(frozen=True)
class HintLoss:
    """Weight and normalisation of the hint's log-likelihood."""

    coef: float
    aggregation: HintAggregation


def actor_loss(
    config: Any,
    hint: HintLoss,
    model_output: dict[str, Any] | None = None,
    data: TensorDict | None = None,
    dp_group: Any = None,
    **_: Any,
) -> tuple[torch.Tensor, dict[str, Any]]:
    """L = ppo_loss + coef * (-sum log pi(hint)) / N over one micro-batch.

    N is global (see `hint_nll_scale`); the factor dp_size undoes FSDP's averaging of gradients over ranks, as in
    verl's agg_loss. Log-probabilities are those of logits / temperature, as everywhere in verl.
    """
    assert model_output is not None
    assert data is not None
    sequences = count_what_votes(data)
    loss, metrics = ppo_loss(config, model_output, data, dp_group)
    # loss_mask, not response_mask: rollout correction may zero generated tokens of the latter.
    loss_mask = data["loss_mask"]
    mask = hint_mask(loss_mask.to_padded_tensor(0) if loss_mask.is_nested else loss_mask)
    total = hint_nll_sum(no_padding_2_padding(model_output["log_probs"], data), mask)
    tokens = float(tu.get_non_tensor_data(data, HINT_TOKENS, 0.0))
    dp_size = data["dp_size"]
    if hint.coef:
        scale = hint_nll_scale(hint.aggregation, hint_tokens=tokens, sequences=sequences)
        loss = loss + hint.coef * total * dp_size / scale
    # Summed over micro-batches and averaged over ranks, hence dp_size: the mean over the step's hint tokens, in nats.
    mean = total.detach() * dp_size / hint_nll_scale("token-mean", hint_tokens=tokens, sequences=sequences)
    metrics["hint_nll"] = Metric(value=mean, aggregation=AggregationType.SUM)
    return loss, metrics


def count_what_votes(data: TensorDict) -> float:
    """Let verl's losses divide by the rows and tokens that are trained on; returns the rows of the optimiser step.

    A row whose verdict failed is in neither number. Where an update has no generated token at all, verl would divide
    zero by zero, and one such update would turn every weight into NaN.
    """
    rows = max(data["global_batch_size"] - tu.get_non_tensor_data(data, FAILED_ROWS, 0.0), 1.0)
    tu.assign_non_tensor(data, global_batch_size=rows, batch_num_tokens=max(data["batch_num_tokens"], 1))
    # Not again in another loss or micro-batch that shares the data.
    tu.assign_non_tensor(data, **{FAILED_ROWS: 0.0})
    return float(rows)


@dataclass(frozen=True)
class ImplicitReward:
    """How una_online compares the implicit reward with the score."""

    beta: float
    target: UnaTarget


def una_loss(
    una: ImplicitReward,
    model_output: dict[str, Any] | None = None,
    data: TensorDict | None = None,
    dp_group: Any = None,
    **_: Any,
) -> tuple[torch.Tensor, dict[str, Any]]:
    """L = sum of squared errors (see `implicit_reward_error`) / rollouts of the optimiser step, over one micro-batch.

    The estimator "score" has put a rollout's score on its tokens as their advantage. The factor dp_size undoes FSDP's
    averaging of gradients over ranks.
    """
    assert model_output is not None
    assert data is not None
    log_probs = no_padding_2_padding(model_output["log_probs"], data)
    rollouts, dp_size = count_what_votes(data), data["dp_size"]
    padded = data.select("response_mask", "ref_log_prob", "advantages").to_padded_tensor()
    mask = padded["response_mask"].bool()
    scores = torch.where(mask, padded["advantages"], torch.full_like(padded["advantages"], -torch.inf)).amax(-1)
    scores = torch.where(mask.any(-1), scores, torch.zeros_like(scores))
    errors, rewards = implicit_reward_error(
        log_probs, padded["ref_log_prob"], mask, scores, beta=una.beta, target=una.target
    )
    loss = errors.sum() * dp_size / rollouts
    # Sums over micro-batches, averaged over ranks: means over the step's rollouts.
    means = {
        "una_loss": errors.detach().sum(),
        "implicit_reward": rewards.sum(),
        "log_ratio": rewards.sum() / una.beta,
        "score": scores.sum(),
    }
    metrics = {
        name: Metric(value=total * dp_size / rollouts, aggregation=AggregationType.SUM) for name, total in means.items()
    }
    return loss, metrics


def critic_loss(
    config: Any,
    model_output: dict[str, Any] | None = None,
    data: TensorDict | None = None,
    dp_group: Any = None,
    **_: Any,
) -> tuple[torch.Tensor, dict[str, Any]]:
    """verl's value loss over what votes: see `count_what_votes`."""
    assert data is not None
    count_what_votes(data)
    loss: tuple[torch.Tensor, dict[str, Any]] = value_loss(config, model_output, data, dp_group)
    return loss
