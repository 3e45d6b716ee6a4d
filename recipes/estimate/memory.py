"""How much memory a device will hold and how long a step will take, before anything starts: estimates.

Every term is a formula of the model's shape and the experiment, so that it can be checked by hand; docs/hardware.md
compares them with what was measured.
"""

from dataclasses import dataclass

from recipes.estimate.kernels import has_flash_attention, has_fused_head, logit_bytes, micro_batch_limit
from recipes.estimate.model_shapes import ModelShape, known_shape
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import profile_named

GB = 1e9

# Rows of the vocabulary matrix product that verl's fused head computes at once.
_HEAD_CHUNK = 512
# float32 arrays of a chunk's logits alive at once in its backward pass (logits, probabilities, one-hot, two products).
_HEAD_COPIES = 5
# What two processes (trainer, engine) hold besides: CUDA contexts, libraries' workspaces, the sleeping engine's graphs.
_RESIDUE = 3 * GB
# The buffer in which new weights travel to the engine (verl: update_weights_bucket_megabytes).
_BUCKET = 2.1 * GB
# How much longer the longest sequence of a micro-batch is taken for than the mean, on the CPU, which pads to it.
_PADDING = 2.0
# Bytes an entry of the mask takes that keeps packed sequences apart without flash-attention: a truth value, and the
# number of half precision that is added to the scores.
_MASK = 3
# All processes of a run on the CPU besides what is trained: about ten interpreters with torch, vLLM and verl, Ray's
# object store and 1 GiB of cache for keys and values. Measured (docs/performance.md).
_CPU_PROCESSES = 6.6 * GB


@dataclass(frozen=True)
class Device:
    """What a device does a second where it is kept busy; the source of the time estimate."""

    flops: float
    """Multiply-adds counted twice, at the share of the peak that training reaches."""

    bandwidth: float
    """Bytes read while decoding."""

    decode_step: float
    """Seconds a decoding step takes at least."""

    rollout: float
    """Seconds of one thread a rollout costs besides (agent loop, reward, data plane), spread over the workers."""


DEVICES = {
    # H100: 40 % of 989 TFLOP/s (bfloat16) and 70 % of 3.35 TB/s are assumed, not measured.
    "cuda": Device(flops=4e14, bandwidth=2.3e12, decode_step=0.012, rollout=0.002),
    # Two cores, measured with the embedded model (docs/performance.md).
    "cpu": Device(flops=2.4e10, bandwidth=1e10, decode_step=0.004, rollout=0.01),
}


@dataclass(frozen=True)
class Memory:
    """Bytes a device holds, by purpose; on the CPU all processes of the run together."""

    weights: float
    gradients: float
    optimiser: float
    gathered: float
    """Layers gathered from all ranks while they are computed, and their gradients."""
    activations: float
    head: float
    """Logits and what their gradient needs."""
    engine: float
    """vLLM while it generates: weights and the cache of keys and values."""
    kv_tokens: int
    """Tokens that cache holds."""
    fixed: float
    """Everything else."""
    limit: float
    """Memory of the device; 0 when there is no limit to compare with."""

    @property
    def updating(self) -> float:
        """The most while the policy is updated; the engine sleeps."""
        trained = self.weights + self.gradients + self.optimiser
        return trained + self.gathered + self.activations + self.head + self.fixed

    @property
    def generating(self) -> float:
        """The most while rollouts are drawn; gradients are gone, new weights travel through a buffer."""
        return self.weights + self.optimiser + self.engine + self.fixed + (_BUCKET if self.limit else 0.0)

    @property
    def peak(self) -> float:
        """The larger of the two."""
        return max(self.updating, self.generating)


def estimate_memory(experiment: Experiment, shape: ModelShape) -> Memory:
    """Memory of a device for a reinforcement step (a supervised one needs no engine).

    weights 4 N / ranks, gradients 4 n / ranks, Adam 8 n / ranks bytes (float32; N all and n trained parameters);
    activations with checkpointing: tokens * (layers * hidden * 2 + one layer's), else tokens * layers * one layer's.
    """
    e = experiment
    ranks, width = e.n_gpu * e.nnodes, 4 if e.dtype == "float32" else 2
    on_cpu = e.device == "cpu"
    trained = shape.lora_parameters(e.lora_rank) if e.lora_rank else shape.parameters
    vocabulary_matrices = shape.embedding * (1 if shape.tied else 2)
    tokens = micro_batch_tokens(e)
    if on_cpu:
        tokens = min(tokens * _PADDING, max(tokens, _update_tokens(e)))
    layer = shape.layer_bytes(width)
    # While a layer is computed again, its MLP's gate, up and product have gradients beside them.
    again = layer + 3 * shape.intermediate * width
    kept = shape.layers * layer if on_cpu else shape.layers * shape.hidden * width + again
    limit = profile_named(e.profile).memory_gb * GB
    engine = 0.0 if "rl" not in e.stages else e.rollout_memory * limit
    cache = max(0.0, engine - shape.parameters * width / e.tp_size - _RESIDUE / 2)
    return Memory(
        weights=4 * (shape.parameters + (trained if e.lora_rank else 0)) / ranks,
        gradients=4 * trained / ranks,
        optimiser=8 * trained / ranks,
        gathered=0.0 if on_cpu else 2 * width * (2 * shape.per_layer + vocabulary_matrices),
        activations=tokens * kept + (0.0 if on_cpu or has_flash_attention(e) else _MASK * tokens**2),
        head=_head_bytes(e, shape, tokens),
        engine=engine,
        kv_tokens=int(cache / (shape.kv_bytes(width) / e.tp_size)),
        fixed=_CPU_PROCESSES if on_cpu else _RESIDUE,
        limit=limit,
    )


def micro_batch_tokens(experiment: Experiment) -> float:
    """Tokens of the largest micro-batch: what fits, or all a device has of an update."""
    return min(micro_batch_limit(experiment), _update_tokens(experiment))


def _update_tokens(e: Experiment) -> float:
    """Most tokens a device may have of one update."""
    sequences = e.mini_batch_size * e.n_rollout if "rl" in e.stages else e.batch_size
    return sequences * (e.prompt_length + e.response_length) / (e.n_gpu * e.nnodes)


def _head_bytes(e: Experiment, shape: ModelShape, tokens: float) -> float:
    if has_fused_head(e):
        chunk = min(_HEAD_CHUNK, tokens) * shape.vocabulary * 4 * _HEAD_COPIES
        return chunk + 2 * shape.embedding * (4 if e.dtype == "float32" else 2)
    return tokens * logit_bytes(e, shape.vocabulary)


@dataclass(frozen=True)
class StepTime:
    """Seconds of a reinforcement step by phase."""

    generate: float
    log_probs: float
    """Of the old policy and of the reference."""
    update: float

    @property
    def total(self) -> float:
        """Their sum."""
        return self.generate + self.log_probs + self.update


def estimate_time(experiment: Experiment, shape: ModelShape, *, tokens_per_rollout: float | None = None) -> StepTime:
    """Seconds of a reinforcement step if every rollout has that many tokens (None: half of what is allowed).

    A forward pass is 2 N operations a token, an update 6 N, and 8 N where activations are computed again. Decoding
    reads all weights once for each token of the longest rollout, or is bound by arithmetic.
    """
    e, device = experiment, DEVICES[experiment.device]
    ranks = e.n_gpu * e.nnodes
    rollouts = e.batch_size * e.n_rollout
    longest = e.prompt_length + e.response_length
    each = longest / 2 if tokens_per_rollout is None else tokens_per_rollout
    generated = min(e.max_response_length, each)
    tokens, width = rollouts * each / ranks, 4 if e.dtype == "float32" else 2
    work = 2.0 * shape.parameters
    if e.device == "cuda" and not has_flash_attention(e):
        # Every token's scores with all of its micro-batch, masked or not.
        work += 4 * shape.layers * shape.heads * shape.head_dim * micro_batch_tokens(e)
    forward = work * tokens / device.flops
    references = 1 if e.kl_coef > 0 else 0
    cache = estimate_memory(e, shape).kv_tokens
    at_once = rollouts * e.tp_size / ranks
    if cache:
        at_once = max(1.0, min(at_once, e.max_num_seqs, cache / each))
    waves = rollouts * e.tp_size / ranks / at_once
    read = (
        shape.parameters * width / e.tp_size + at_once * each * shape.kv_bytes(width) / e.tp_size
    ) / device.bandwidth
    step = max(device.decode_step, read, at_once * 2 * shape.parameters / e.tp_size / device.flops)
    workers = 1 if e.device == "cpu" else 8
    return StepTime(
        generate=waves * generated * step + rollouts * device.rollout / workers,
        log_probs=(1 + references) * forward,
        update=forward * (3 if e.device == "cpu" else 4),
    )


def describe_memory(experiment: Experiment) -> str:
    """Both estimates as lines of --dry_run, with a warning where they do not fit the device."""
    shape = known_shape(experiment.model)
    if shape is None:
        return (
            "memory:        unknown: the shape of this model is not in recipes/estimate/model_shapes.py, and it is "
            "not a folder with a config.json"
        )
    found = estimate_memory(experiment, shape)
    parts = {
        "weights": found.weights,
        "gradients": found.gradients,
        "Adam": found.optimiser,
        "gathered layers": found.gathered,
        "activations": found.activations,
        "logits": found.head,
        "other": found.fixed,
    }
    place = "all processes" if experiment.device == "cpu" else "a device"
    listed = ", ".join(f"{name} {size / GB:.1f}" for name, size in parts.items() if size >= 0.05 * GB)
    lines = [
        f"memory:        estimates for {place}, in GB ({shape.parameters / GB:.3g} B parameters); not measurements",
        f"               updating   {found.updating / GB:6.1f}  {listed}",
    ]
    if found.limit and "rl" in experiment.stages:
        lines.append(
            f"               generating {found.generating / GB:6.1f}  engine {found.engine / GB:.1f} with room for "
            f"{found.kv_tokens:,} tokens of keys and values"
        )
    if found.limit:
        lines.append(f"               of         {found.limit / GB:6.1f}  {_verdict(experiment, found)}")
    if experiment.device == "cuda":
        lines.append(f"               {_kernels(experiment)}")
    if "rl" in experiment.stages:
        seconds = estimate_time(experiment, shape)
        whose = "two cores" if experiment.device == "cpu" else "an H100 at 40 % of its peak"
        lines.append(
            f"time:          about {seconds.total:.0f} s a step (generating {seconds.generate:.0f}, log-probabilities "
            f"{seconds.log_probs:.0f}, updating {seconds.update:.0f}) on {whose}, rollouts half as long as allowed"
        )
    return "\n".join(lines)


def _verdict(e: Experiment, found: Memory) -> str:
    if found.peak <= found.limit:
        return "fits"
    if found.updating > found.limit:
        return "does NOT fit while updating: lower --tokens_per_micro_batch, or train adapters with --lora_rank 32"
    return "does NOT fit while generating: lower --rollout_memory, or use more devices"


def _kernels(e: Experiment) -> str:
    packing = (
        "flash-attention: sequences are packed without padding"
        if has_flash_attention(e)
        else "no flash-attn package here: sequences are packed under a mask (SDPA), in micro-batches of at most "
        f"{micro_batch_limit(e):,} tokens (./install.sh --flash-attn)"
    )
    return packing + ("; no logits are kept (fused head)" if has_fused_head(e) else "; logits are kept whole")
