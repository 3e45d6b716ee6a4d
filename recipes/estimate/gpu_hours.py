"""GPU hours of a run, estimated from its settings alone: an order of magnitude."""

from collections.abc import Mapping

from recipes.estimate.model_shapes import known_shape
from recipes.estimate.step_time import DEVICES, estimate_time
from recipes.settings.experiment import Experiment

# Per step: weight sync, rewards and waiting; per run: start-up.
_STEP_S, _START_S = 10.0, 180.0
_FILLED = 0.5

ASSUMPTIONS = (
    "an estimate, not a measurement, right within a factor of three: seconds per step as in --dry_run (H100s at 40 % "
    "of their 989 TFLOP/s, decoding bound by 70 % of 3.35 TB/s), 10 s per reinforcement step for weights, rewards and "
    "waiting, 3 min to start; supervised stages: 6 FLOP per parameter and token; texts half as long as allowed"
)


def gpu_hours(experiment: Experiment, rows: Mapping[str, int]) -> float:
    """Device hours of a run.

    Args:
        rows: training rows by task, for data whose options do not give them.

    Raises:
        ValueError: if the model's shape or the number of rows is unknown.
    """
    e = experiment
    shape = known_shape(e.model)
    n_train = rows.get(e.data) or e.data_options.get("n_train")
    if shape is None or n_train is None:
        raise ValueError(f"{e.model} on {e.data}: unknown number of {'parameters' if shape is None else 'rows'}")
    devices = e.n_gpu * e.nnodes
    forward = 2 * shape.active_parameters / DEVICES[e.device].flops
    device_s = _START_S * devices
    for stage in e.stages:
        if stage == "sft":
            tokens = e.sft_epochs * n_train * _FILLED * (e.max_prompt_length + e.max_hint_length)
            device_s += tokens * 3 * forward
        elif stage == "alignment":
            tokens = e.alignment.epochs * n_train * _FILLED * e.alignment.max_length
            device_s += tokens * (3 if e.method == "sft" else 4) * forward
        else:
            step = estimate_time(e, shape)
            answers = e.data_options.get("n_test", 0) * (e.val_samples + 1)
            validations = (e.T // e.test_freq + 1) * answers / (e.batch_size * e.n_rollout)
            device_s += (e.T * (step.total + _STEP_S) + validations * step.generate) * devices
    return device_s / 3600
