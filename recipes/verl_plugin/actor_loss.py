"""Actor and critic losses for set_loss_fn: ppo_loss plus an algorithm's terms, its own row loss, value_loss."""

import json
from typing import Any

import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.utils.metric import AggregationType, Metric
from verl.workers.utils.losses import ppo_loss, value_loss
from verl.workers.utils.padding import no_padding_2_padding

from recipes.algorithms import find_shape, get_algorithm
from recipes.algorithms.base import Rows
from recipes.algorithms.losses.terms import term_sum

TERMS = "uft_terms"
"""Key for the terms of a step, as JSON: [[name, coefficient, name of the shape or ""], ...]. verl would take a list for
one value per row."""

DUE = "uft_due"
"""Key that marks a batch of solutions to learn (passes.py) instead of rollouts."""

FAILED_ROWS = "uft_failed_rows"
"""Key for the number of rollouts per optimiser step whose verdict failed; their rows are masked."""


def term_column(place: int) -> str:
    """The column with a term's weights, divided by its count."""
    return f"uft_term_{place}"


def actor_loss(
    config: Any,
    model_output: dict[str, Any] | None = None,
    data: TensorDict | None = None,
    dp_group: Any = None,
    **_: Any,
) -> tuple[torch.Tensor, dict[str, Any]]:
    """L = ppo_loss + dp_size sum_k c_k sum_t w_kt g_k(sg p_t) (-log p_t) over one micro-batch.

    The weights are already divided by counts of the whole batch (recipes/algorithms/losses/terms.py); dp_size undoes
    FSDP's averaging of gradients over ranks, as in verl's agg_loss. Log-probabilities are those of
    logits / temperature, as everywhere in verl.

    Raises:
        KeyError: a column that the trainer wrote is missing: verl's store drops columns that any row lacks.
    """
    assert model_output is not None
    assert data is not None
    if tu.get_non_tensor_data(data, DUE, False):
        return _supervised(no_padding_2_padding(model_output["log_probs"], data), data)
    count_what_votes(data)
    terms = json.loads(tu.get_non_tensor_data(data, TERMS, "[]"))
    if missing := [term_column(place) for place in range(len(terms)) if term_column(place) not in data]:
        raise KeyError(f"columns {', '.join(missing)} are missing from an update: not every row has them")
    loss, metrics = ppo_loss(config, model_output, data, dp_group)
    log_probs, dp_size = no_padding_2_padding(model_output["log_probs"], data), data["dp_size"]
    for place, (name, coef, shape) in enumerate(terms):
        column = data[term_column(place)]
        weights = column.to_padded_tensor(0.0) if column.is_nested else column
        total = term_sum(log_probs, weights, find_shape(shape) if shape else None) * dp_size
        if coef:
            loss = loss + coef * total
        # verl sums it over micro-batches and averages over ranks, hence dp_size.
        metrics[name] = Metric(value=total.detach(), aggregation=AggregationType.SUM)
    return loss, metrics


def _supervised(log_probs: torch.Tensor, data: TensorDict) -> tuple[torch.Tensor, dict[str, Any]]:
    """The weighted -log pi of solutions; dp_size as in `actor_loss`."""
    total = term_sum(log_probs, data[term_column(0)].to_padded_tensor(0.0), None) * data["dp_size"]
    return total, {"nll": Metric(value=total.detach(), aggregation=AggregationType.SUM)}


def count_what_votes(data: TensorDict) -> float:
    """Make verl's losses divide by the rows and tokens that are trained on; returns the rows of the optimiser step.

    Rows whose verdict failed are not counted. On an update without any generated token verl would compute 0 / 0, and
    one such update would turn every weight into NaN.
    """
    rows = max(data["global_batch_size"] - tu.get_non_tensor_data(data, FAILED_ROWS, 0.0), 1.0)
    tu.assign_non_tensor(data, global_batch_size=rows, batch_num_tokens=max(data["batch_num_tokens"], 1))
    # Do not subtract again in another loss or micro-batch that shares the data.
    tu.assign_non_tensor(data, **{FAILED_ROWS: 0.0})
    return float(rows)


def row_loss(
    algorithm: str,
    settings: Any,
    model_output: dict[str, Any] | None = None,
    data: TensorDict | None = None,
    dp_group: Any = None,
    **_: Any,
) -> tuple[torch.Tensor, dict[str, Any]]:
    """An algorithm's own per-rollout loss, as its mean over the optimiser step's rollouts; one micro-batch's part.

    The algorithm sees only rows with a verdict: other rows are fully masked, but their loss would still be learned.
    The estimator "score" has set the advantage of a rollout's tokens to its score. The factor dp_size undoes FSDP's
    averaging of gradients over ranks.
    """
    assert model_output is not None
    assert data is not None
    own = get_algorithm(algorithm).loss
    assert own is not None
    log_probs = no_padding_2_padding(model_output["log_probs"], data)
    rollouts, dp_size = count_what_votes(data), data["dp_size"]
    names = ("response_mask", "advantages", *(("ref_log_prob",) if "ref_log_prob" in data else ()))
    padded = data.select(*names).to_padded_tensor()
    mask = padded["response_mask"].bool()
    scores = torch.where(mask, padded["advantages"], torch.full_like(padded["advantages"], -torch.inf)).amax(-1)
    scores = torch.where(mask.any(-1), scores, torch.zeros_like(scores))
    votes = mask.any(-1)
    heard = bool(votes.any())
    seen = votes if heard else torch.ones_like(votes)
    ref = padded["ref_log_prob"][seen] if "ref_log_prob" in names else None
    losses, watched = own(log_probs[seen], Rows(scores[seen], mask[seen], ref), settings)
    if not heard:
        # All micro-batches of a step must report the same metrics.
        losses, watched = 0.0 * log_probs.sum(-1), {name: torch.zeros_like(each) for name, each in watched.items()}
    # Summed over micro-batches and averaged over ranks, these are means over the step's rollouts.
    metrics = {
        name: Metric(value=values.sum() * dp_size / rollouts, aggregation=AggregationType.SUM)
        for name, values in watched.items()
    }
    return losses.sum() * dp_size / rollouts, metrics


def critic_loss(
    config: Any,
    model_output: dict[str, Any] | None = None,
    data: TensorDict | None = None,
    dp_group: Any = None,
    **_: Any,
) -> tuple[torch.Tensor, dict[str, Any]]:
    """verl's value loss over rows with a verdict: see `count_what_votes`."""
    assert data is not None
    count_what_votes(data)
    loss: tuple[torch.Tensor, dict[str, Any]] = value_loss(config, model_output, data, dp_group)
    return loss
