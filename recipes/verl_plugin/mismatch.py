"""Whether engine and trainer give sampled tokens the same probability."""

from collections.abc import Mapping
from typing import Any

MEAN_DIFFERENCE = "training/rollout_probs_diff_mean"
"""verl's metric: the mean of |pi_trainer - pi_engine| over generated tokens."""

LIMIT = 0.01
"""Where a notice is given: bfloat16 engines of dense models are reported between .004 and .007, float32 at 1e-6."""


ALARM = 0.1
"""Where it is no rounding any more, whatever the precision: the engine has other weights than the trainer."""


class StaleWeights(RuntimeError):
    """The engine samples from weights that the trainer does not have."""


def refuse_stale(metrics: Mapping[str, Any]) -> None:
    """Raise StaleWeights where the engine cannot have the trainer's weights."""
    found = metrics.get(MEAN_DIFFERENCE, 0.0)
    if found > ALARM:
        raise StaleWeights(
            f"the inference engine and the trainer give sampled tokens probabilities that differ by {found:.2f} on "
            f"average (rounding: below {LIMIT:g}): the engine has other weights, or this model runs wrongly in one of "
            f"the two. Nothing would be learned from such rollouts. Compare --eval of hf/last with this run's "
            f"validation; where the difference is meant, --rollout_correction token goes on and weighs for it"
        )


def mismatch(metrics: Mapping[str, Any]) -> str | None:
    """A line for the reader of the run where the two differ by more than rounding; None else."""
    found = metrics.get(MEAN_DIFFERENCE, 0.0)
    if not found > LIMIT:
        return None
    return (
        f"the inference engine and the trainer give sampled tokens probabilities that differ by {found:.3f} on average "
        f"(more than {LIMIT:g}): rollouts are not quite the policy's own. --rollout_correction token weighs them for "
        f"it; docs/algorithms/README.md says what is known"
    )
