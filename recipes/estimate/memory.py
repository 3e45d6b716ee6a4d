"""Estimates the memory a device will need, before anything starts.

Every term is a formula of the model's shape and the experiment that can be checked by hand; docs/hardware.md compares
estimates with measurements.
"""

from dataclasses import dataclass, replace

from recipes.estimate.kernels import has_flash_attention, has_fused_head, logit_bytes, micro_batch_limit
from recipes.estimate.model_shapes import ModelShape
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import profile_named

GB = 1e9

# Tokens whose logits verl's fused head computes at once.
_HEAD_CHUNK = 512
# float32 arrays of a chunk's logits alive together in its backward pass (logits, probabilities, one-hot, two products).
_HEAD_COPIES = 5
# Overhead of both processes (trainer, engine): CUDA contexts, library workspaces, the sleeping engine's graphs.
_RESIDUE = 3 * GB
# Buffer for sending new weights to the engine (verl: update_weights_bucket_megabytes).
_BUCKET = 2.1 * GB
# Assumed ratio of longest to mean sequence length in a micro-batch, on the CPU, which pads to the longest.
_PADDING = 2.0
# Bytes per entry of the mask that separates packed sequences without flash-attention: a boolean, and the half-precision
# number added to the scores.
_MASK = 3
# Held by the processes of a CPU stage before a model is loaded: interpreters with torch, vLLM and verl (mostly shared
# between forks), Ray and its object store. Fitted to measurements (results/estimates_cpu).
_CPU_PROCESSES = {"rl": 4.4 * GB, "sft": 0.8 * GB, "alignment": 0.8 * GB}
_CPU_CRITIC = 0.2 * GB
_CPU_EVALUATION = 2.0 * GB
# Bytes per parameter of frozen weights in 4 bits (NF4 and its quantised constants) or 8 bits.
_QUANTISED = {4: 0.53, 8: 1.01}


@dataclass(frozen=True)
class Memory:
    """Bytes held by a device, by purpose; on the CPU by all processes of the run together."""

    weights: float
    gradients: float
    optimiser: float
    reference: float
    """The frozen reference policy."""
    critic: float
    """Weights, gradients and moments of ppo's critic."""
    gathered: float
    """Layers gathered from all ranks for computation, and their gradients."""
    activations: float
    head: float
    """Logits and intermediate values of their gradient."""
    engine: float
    """vLLM while generating: weights and KV cache. On the CPU its weights, which are never released."""
    kv_tokens: int
    """Tokens that fit into the KV cache."""
    fixed: float
    """Everything else."""
    evaluating: float
    """A separate evaluation stage, on the CPU: vLLM, and its weights twice while it loads them."""
    limit: float
    """Memory of the device; 0 if there is no limit to compare with."""

    @property
    def updating(self) -> float:
        """Peak while the policy is updated; on a device with a limit the engine sleeps."""
        held = self.weights + self.gradients + self.optimiser + self.reference + self.critic
        awake = 0.0 if self.limit else self.engine
        return held + self.gathered + self.activations + self.head + self.fixed + awake

    @property
    def generating(self) -> float:
        """Peak while rollouts are generated: no gradients, but a buffer for new weights."""
        held = self.weights + self.optimiser + self.reference + self.critic
        return held + self.engine + self.fixed + (_BUCKET if self.limit else 0.0)

    @property
    def peak(self) -> float:
        """The largest of the three."""
        return max(self.updating, self.generating, self.evaluating)


def estimate_memory(experiment: Experiment, shape: ModelShape) -> Memory:
    """Memory of a device in the stage that needs the most.

    In bytes, for N parameters of which n are trained (float32): weights 4 N / ranks, gradients 4 n / ranks, Adam
    8 n / ranks (TRL shards nothing when it trains adapters); the same again for a critic; the reference 4 N / ranks if
    it stays on the device and is not the policy without its adapter; activations with checkpointing: tokens * (layers *
    hidden * 2 + one layer's), else tokens * layers * one layer's.
    """
    e = experiment
    ranks, width = shards(e), 4 if e.dtype == "float32" else 2
    on_cpu = e.device == "cpu"
    trained = shape.lora_parameters(e.lora_rank) if e.lora_rank else shape.parameters
    vocabulary_matrices = shape.embedding * (1 if shape.tied else 2)
    tokens = micro_batch_tokens(e)
    if on_cpu and e.stages != ("alignment",):
        tokens = min(tokens * _PADDING, max(tokens, _update_tokens(e)))
    layer = shape.layer_bytes(width)
    # When a layer is recomputed, the gradients of its MLP's gate, up and product are held too.
    again = layer + 3 * shape.widest * width
    kept = shape.layers * layer if on_cpu else shape.layers * shape.hidden * width + again
    limit = profile_named(e.profile).memory_gb * GB
    generates = "rl" in e.stages
    engine = 0.0 if not generates else 4.0 * shape.parameters if on_cpu else e.rollout_memory * limit
    has_critic = generates and "critic" in e.algorithm.needs
    # On GPUs verl offloads the reference to main memory.
    stays = compares(e) and not e.lora_rank and (on_cpu or not generates) and not e.alignment.precompute_ref
    weights = 4.0 * (shape.parameters + (trained if e.lora_rank else 0))
    if e.stages == ("alignment",) and e.lora_rank:
        # Frozen weights are held in the compute dtype, or quantised except for the vocabulary.
        frozen = shape.parameters - vocabulary_matrices
        weights = 4.0 * trained + width * vocabulary_matrices + _QUANTISED.get(e.alignment.bits, width) * frozen
    cache = max(0.0, engine - shape.parameters * width / e.tp_size - _RESIDUE / 2)
    return Memory(
        weights=weights / ranks,
        gradients=4 * trained / ranks,
        optimiser=8 * trained / ranks,
        reference=4 * shape.parameters * stays / ranks,
        critic=(weights + 12 * trained) * has_critic / ranks,
        gathered=0.0 if on_cpu else 2 * width * (2 * shape.per_layer + vocabulary_matrices),
        activations=tokens * kept + (0.0 if on_cpu or has_flash_attention(e) else _MASK * tokens**2),
        head=_head_bytes(e, shape, tokens),
        engine=engine,
        kv_tokens=int(cache / (shape.kv_bytes(width) / e.tp_size)),
        fixed=_RESIDUE if not on_cpu else _CPU_PROCESSES["rl" if generates else e.stages[0]] + _CPU_CRITIC * has_critic,
        evaluating=0.0 if not on_cpu or generates else _CPU_EVALUATION + 8 * shape.parameters,
        limit=limit,
    )


def shards(experiment: Experiment) -> int:
    """Number of devices that weights, gradients and moments are sharded over; with adapters TRL does not shard."""
    e = experiment
    return 1 if e.stages == ("alignment",) and e.lora_rank else e.n_gpu * e.nnodes


def supervised_alone(experiment: Experiment) -> Experiment | None:
    """The supervised stage of a multi-node run, which uses only the first node's devices; None for other runs."""
    e = experiment
    return replace(e, algo="sft", options={}, nnodes=1) if e.nnodes > 1 and e.stages[0] == "sft" else None


def compares(experiment: Experiment) -> bool:
    """Whether the run needs ref_log_prob."""
    e = experiment
    if e.stages == ("alignment",):
        return e.method != "sft"
    return "rl" in e.stages and (e.kl_coef > 0 or "reference" in e.algorithm.needs)


def micro_batch_tokens(experiment: Experiment) -> float:
    """Tokens of the largest micro-batch: what fits, or a device's entire share of an update."""
    e = experiment
    if e.stages == ("alignment",):
        pairs = e.method == "dpo" or (e.method == "una" and e.alignment.feedback == "pairwise")
        return e.alignment.micro_batch_size * (1 + pairs) * e.alignment.max_length
    return min(micro_batch_limit(e), _update_tokens(e))


def _update_tokens(e: Experiment) -> float:
    """Maximum tokens of one update per device."""
    sequences = e.mini_batch_size * e.n_rollout if "rl" in e.stages else e.batch_size
    return sequences * (e.prompt_length + e.response_length) / (e.n_gpu * e.nnodes)


def _head_bytes(e: Experiment, shape: ModelShape, tokens: float) -> float:
    if has_fused_head(e):
        chunk = min(_HEAD_CHUNK, tokens) * shape.vocabulary * 4 * _HEAD_COPIES
        return chunk + 2 * shape.embedding * (4 if e.dtype == "float32" else 2)
    return tokens * logit_bytes(e, shape.vocabulary)
