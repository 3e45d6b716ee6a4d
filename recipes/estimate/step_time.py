"""Estimates how long a reinforcement step will take, from the model's shape, before anything starts."""

from dataclasses import dataclass

from recipes.estimate.kernels import has_flash_attention
from recipes.estimate.memory import compares, estimate_memory, micro_batch_tokens
from recipes.estimate.model_shapes import ModelShape
from recipes.settings.experiment import Experiment


@dataclass(frozen=True)
class Device:
    """Throughput of a busy device, the basis of the time estimate."""

    flops: float
    """FLOP per second (a multiply-add is two), at the share of the peak that training reaches."""

    bandwidth: float
    """Bytes per second read while decoding."""

    decode_step: float
    """Minimum seconds per decoding step."""

    rollout: float
    """Extra seconds of one thread per rollout (agent loop, reward, data plane), spread over the workers."""


DEVICES = {
    # H100: 40 % of 989 TFLOP/s (bfloat16) and 70 % of 3.35 TB/s are assumed, not measured.
    "cuda": Device(flops=4e14, bandwidth=2.3e12, decode_step=0.012, rollout=0.002),
    # Two cores, measured with the embedded model (docs/performance.md).
    "cpu": Device(flops=2.4e10, bandwidth=1e10, decode_step=0.004, rollout=0.01),
}


@dataclass(frozen=True)
class StepTime:
    """Seconds of a reinforcement step by phase."""

    generate: float
    log_probs: float
    """For the old policy and the reference."""
    update: float

    @property
    def total(self) -> float:
        """Sum of all phases."""
        return self.generate + self.log_probs + self.update


def estimate_time(experiment: Experiment, shape: ModelShape, *, tokens_per_rollout: float | None = None) -> StepTime:
    """Seconds of a reinforcement step if every rollout has that many tokens (None: half of what is allowed).

    A forward pass takes 2 N operations per token, an update 6 N, or 8 N with recomputed activations. Decoding reads all
    weights once per token of the longest rollout, or is bound by arithmetic.
    """
    e, device = experiment, DEVICES[experiment.device]
    ranks = e.n_gpu * e.nnodes
    rollouts = e.batch_size * e.n_rollout
    longest = e.prompt_length + e.response_length
    each = longest / 2 if tokens_per_rollout is None else tokens_per_rollout
    generated = min(e.max_response_length, each)
    tokens, width = rollouts * each / ranks, 4 if e.dtype == "float32" else 2
    work = 2.0 * shape.active_parameters
    if e.device == "cuda" and not has_flash_attention(e):
        # Attention scores of every token with its entire micro-batch, masked or not.
        work += 4 * shape.layers * shape.heads * shape.head_dim * micro_batch_tokens(e)
    forward = work * tokens / device.flops
    references = int(compares(e))
    cache = estimate_memory(e, shape).kv_tokens
    at_once = rollouts * e.tp_size / ranks
    if e.device == "cuda":
        at_once = max(1.0, min(at_once, e.max_num_seqs, cache / each))
    waves = rollouts * e.tp_size / ranks / at_once
    read = (
        shape.parameters * width / e.tp_size + at_once * each * shape.kv_bytes(width) / e.tp_size
    ) / device.bandwidth
    step = max(device.decode_step, read, at_once * 2 * shape.active_parameters / e.tp_size / device.flops)
    workers = 1 if e.device == "cpu" else 8
    return StepTime(
        generate=waves * generated * step + rollouts * device.rollout / workers,
        log_probs=(1 + references) * forward,
        update=forward * (3 if e.device == "cpu" else 4),
    )
