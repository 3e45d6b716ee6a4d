"""GPU hours of a run, estimated from its settings before anything is measured: an order of magnitude, and said so."""

from collections.abc import Mapping

from recipes.estimate.model_shapes import known_shape
from recipes.estimate.step_time import DEVICES, estimate_time
from recipes.settings.experiment import Experiment

# Weights to the engine, rewards and waiting, a step; start-up, a run.
_STEP_S, _START_S = 10.0, 180.0
_FILLED = 0.5

ASSUMPTIONS = (
    "an estimate, not a measurement, to be taken as right within a factor of three: the seconds a step of --dry_run "
    "(H100s at 40 % of their 989 TFLOP/s, decoding bound by 70 % of 3.35 TB/s), 10 s a reinforcement step for weights, "
    "rewards and waiting, 3 min of start; supervised stages: 6 FLOP a parameter and token; texts half as long as they "
    "may be"
)


def gpu_hours(experiment: Experiment, rows: Mapping[str, int]) -> float:
    """Hours times devices of a run.

    Args:
        rows: of the training files that no generator's options name, by task.

    Raises:
        ValueError: when the model's shape or the number of rows is not known.
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
