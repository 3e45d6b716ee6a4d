"""GPU hours of a run, estimated from its settings before anything is measured: an order of magnitude, and said so."""

from collections.abc import Mapping

from recipes.experiment import Experiment
from recipes.model_shapes import parameters

# Dense bfloat16 of an H100, and the shares of it that are assumed: computing over whole sequences, and decoding.
_PEAK_FLOPS = 989e12
_COMPUTING, _DECODING = 0.3, 0.03
_STEP_S, _START_S = 10.0, 180.0
_FILLED = 0.5

ASSUMPTIONS = (
    "an estimate, not a measurement, to be taken as right within a factor of three: 2 FLOP a parameter and token "
    "forward and 6 with gradients, on H100s at 30 % of their 989 TFLOP/s (decoding at 3 %), texts half as long as they "
    "may be, 10 s a reinforcement step for weights, rewards and waiting, 3 min of start"
)


def gpu_hours(experiment: Experiment, rows: Mapping[str, int]) -> float:
    """Hours times devices of a run.

    Args:
        rows: of the training files that no generator's options name, by task.

    Raises:
        ValueError: when the model's size or the number of rows is not known.
    """
    e = experiment
    size = parameters(e.model)
    n_train = rows.get(e.data) or e.data_options.get("n_train")
    if size is None or n_train is None:
        raise ValueError(f"{e.model} on {e.data}: unknown number of {'parameters' if size is None else 'rows'}")
    forward, gradients, devices = 2 * size, 6 * size, e.n_gpu * e.nnodes
    device_s = _START_S * devices
    for stage in e.stages:
        if stage == "sft":
            tokens = e.sft_epochs * n_train * _FILLED * (e.max_prompt_length + e.max_hint_length)
            device_s += tokens * gradients / (_PEAK_FLOPS * _COMPUTING)
        elif stage == "alignment":
            tokens = e.alignment.epochs * n_train * _FILLED * e.alignment.max_length
            reference = 0 if e.algo == "sft" else forward
            device_s += tokens * (gradients + reference) / (_PEAK_FLOPS * _COMPUTING)
        else:
            sequences = e.T * e.batch_size * e.n_rollout
            answers = sequences * _FILLED * e.max_response_length
            tokens = answers + sequences * _FILLED * e.max_prompt_length
            validations = (e.T // e.test_freq + 1) * e.data_options.get("n_test", 0) * _FILLED * e.max_response_length
            device_s += (answers + validations) * forward / (_PEAK_FLOPS * _DECODING)
            # Old log-probabilities, reference, update.
            device_s += tokens * (2 * forward + gradients) / (_PEAK_FLOPS * _COMPUTING)
            device_s += _STEP_S * e.T * devices
    return device_s / 3600
