"""What the hooks of an algorithm may read of an experiment."""

from typing import Any

from recipes.settings.experiment import Experiment


def hook_settings(experiment: Experiment) -> dict[str, Any]:
    """What an algorithm's hooks may read (`s`), its own options included."""
    e = experiment
    return {
        "T_hint": e.T_hint,
        "sft_loss_coef": e.sft_loss_coef,
        "hint_nll_agg": e.hint_nll_agg,
        "beta": e.alignment.beta,
        "una_target": e.alignment.una_target,
        "n_rollout": e.n_rollout,
        "max_response_length": e.max_response_length,
        "response_length": e.response_length,
        **e.options,
    }
