"""The settings that an algorithm's hooks may read."""

from typing import Any

from recipes.settings.experiment import Experiment


def hook_settings(experiment: Experiment) -> dict[str, Any]:
    """The `s` of an algorithm's hooks, including its own options."""
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
