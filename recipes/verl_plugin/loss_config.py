"""Experiment -> the losses and advantages in verl's configuration; the rest is in verl_config.py. Equally pure."""

from typing import Any

from recipes.algorithms import name_of_shape
from recipes.settings.applies import hint_term, ppo
from recipes.settings.experiment import Experiment

NO_DUAL_CLIP = 1e9
"""verl cannot disable its dual clip, which none of the algorithms here has. A bound above every ratio disables it: verl
clamps the log-ratios at 20, and exp(20) is 4.9e8."""


def algorithm_config(experiment: Experiment) -> dict[str, Any]:
    """verl's section `algorithm`."""
    e = experiment
    correction = {"rollout_is": e.rollout_correction, "rollout_is_threshold": e.rollout_correction_clip}
    corrected = e.rollout_correction != "none" and ppo(e.algorithm, e.stages)
    return {"adv_estimator": estimator(e), **({"rollout_correction": correction} if corrected else {})}


def estimator(experiment: Experiment) -> str:
    """verl's estimator: gae with a critic, the bare score for a per-rollout loss, else group-normalised rewards."""
    algorithm = experiment.algorithm
    return "gae" if "critic" in algorithm.needs else "score" if algorithm.loss is not None else "uft"


def actor_loss_config(experiment: Experiment) -> dict[str, Any]:
    """The part of verl's section `actor` that its ppo_loss reads."""
    e = experiment
    return {
        **loss_norm(e),
        "clip_ratio": e.clip_ratio,
        "clip_ratio_low": e.clip_ratio,
        "clip_ratio_high": e.clip_ratio if e.clip_ratio_high is None else e.clip_ratio_high,
        "clip_ratio_c": e.dual_clip or NO_DUAL_CLIP,
        # verl computes the reference's log-probabilities only for this loss.
        "use_kl_loss": e.kl_coef > 0 or "reference" in e.algorithm.needs,
        "kl_loss_coef": e.kl_coef,
        "kl_loss_type": "low_var_kl",
        "entropy_coeff": e.entropy_coef,
    }


def loss_norm(experiment: Experiment) -> dict[str, Any]:
    """What verl divides PPO's loss, KL and entropy by; without a constant length as the factor, verl would use the
    width of the micro-batch.

    The UFT paper's equation 3.3 has one beta for two sums over a sequence, and its value is a sum as well: with
    --hint_nll_agg paper all parts of the loss are sums over a sequence, averaged over the rows of an update.
    """
    if experiment.hint_nll_agg == "paper" and hint_term(experiment.algorithm, experiment.stages):
        return {"loss_agg_mode": "seq-mean-token-sum"}
    if experiment.algorithm.loss_norm == "tokens":
        return {}
    return {"loss_agg_mode": "seq-mean-token-sum-norm", "loss_scale_factor": experiment.response_length}


def supervised_shape(experiment: Experiment) -> str:
    """The name by which another process finds the shape of a supervised loss; empty for the plain likelihood."""
    shape = experiment.algorithm.supervised
    return "" if shape is None else name_of_shape(shape, experiment.algo)
