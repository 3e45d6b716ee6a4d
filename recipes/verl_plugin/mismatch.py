"""Whether engine and trainer assign sampled tokens the same probability."""

from collections.abc import Mapping
from typing import Any

MEAN_DIFFERENCE = "training/rollout_probs_diff_mean"
"""verl's metric: the mean of |pi_trainer - pi_engine| over generated tokens."""

LIMIT = 0.01
"""Above this a notice is printed: bfloat16 engines of dense models are reported between .004 and .007, float32 at 1e-6.
"""

ALARM = 0.1
"""Above this it cannot be rounding, whatever the precision: the engine has different weights from the trainer."""


class StaleWeights(RuntimeError):
    """The engine samples from weights that the trainer does not have."""


def refuse_stale(metrics: Mapping[str, Any]) -> None:
    """Raise StaleWeights if the engine cannot have the trainer's weights."""
    found = metrics.get(MEAN_DIFFERENCE, 0.0)
    if found > ALARM:
        raise StaleWeights(
            f"the probabilities of sampled tokens differ by {found:.2f} on average between the inference engine and "
            f"the trainer (rounding: below {LIMIT:g}): the engine has different weights, or one of the two runs this "
            f"model incorrectly. Such rollouts teach nothing. Compare --eval of hf/last with this run's "
            f"validation; if the difference is intended, --rollout_correction token continues and corrects for it"
        )


def mismatch(metrics: Mapping[str, Any]) -> str | None:
    """A notice if the two differ by more than rounding; otherwise None."""
    found = metrics.get(MEAN_DIFFERENCE, 0.0)
    if not found > LIMIT:
        return None
    return (
        f"the probabilities of sampled tokens differ by {found:.3f} on average between the inference engine and the "
        f"trainer (more than {LIMIT:g}): rollouts are slightly off-policy. --rollout_correction token corrects for it; "
        f"see docs/algorithms/README.md"
    )
