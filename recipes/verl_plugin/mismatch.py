"""Whether engine and trainer give sampled tokens the same probability."""

from collections.abc import Mapping
from typing import Any

MEAN_DIFFERENCE = "training/rollout_probs_diff_mean"
"""verl's metric: the mean of |pi_trainer - pi_engine| over generated tokens."""

LIMIT = 0.01
"""Where a notice is given: bfloat16 engines of dense models are reported between .004 and .007, float32 at 1e-6."""


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
