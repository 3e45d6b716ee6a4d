"""The actor loss: verl's own ppo_loss plus the hint's negative log-likelihood, installed with set_loss_fn."""

from dataclasses import dataclass
from typing import Any

import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.utils.metric import AggregationType, Metric
from verl.workers.utils.losses import ppo_loss
from verl.workers.utils.padding import no_padding_2_padding

from recipes.algorithms.base import HintAggregation
from recipes.losses.hint_nll import hint_mask, hint_nll_scale, hint_nll_sum

HINT_TOKENS = "uft_hint_tokens"
"""Key under which the trainer hands over the hint tokens of an optimiser step."""


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
    loss, metrics = ppo_loss(config, model_output, data, dp_group)
    # loss_mask, not response_mask: rollout correction may zero generated tokens of the latter.
    loss_mask = data["loss_mask"]
    mask = hint_mask(loss_mask.to_padded_tensor(0) if loss_mask.is_nested else loss_mask)
    total = hint_nll_sum(no_padding_2_padding(model_output["log_probs"], data), mask)
    tokens = float(tu.get_non_tensor_data(data, HINT_TOKENS, 0.0))
    sequences = int(data["global_batch_size"])
    dp_size = data["dp_size"]
    if hint.coef:
        scale = hint_nll_scale(hint.aggregation, hint_tokens=tokens, sequences=sequences)
        loss = loss + hint.coef * total * dp_size / scale
    # Summed over micro-batches and averaged over ranks, hence dp_size: the mean over the step's hint tokens, in nats.
    mean = total.detach() * dp_size / hint_nll_scale("token-mean", hint_tokens=tokens, sequences=sequences)
    metrics["hint_nll"] = Metric(value=mean, aggregation=AggregationType.SUM)
    return loss, metrics
