"""The estimates of memory and time as --dry_run prints them."""

from recipes.estimate.kernels import has_flash_attention, has_fused_head, micro_batch_limit
from recipes.estimate.memory import GB, Memory, estimate_memory
from recipes.estimate.model_shapes import known_shape
from recipes.estimate.step_time import estimate_time
from recipes.settings.experiment import Experiment


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
        "reference": found.reference,
        "critic": found.critic,
        "engine": 0.0 if found.limit else found.engine,
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
            f"time:          about {seconds.total:.0f} s per step (generating {seconds.generate:.0f}, "
            f"log-probabilities {seconds.log_probs:.0f}, updating {seconds.update:.0f}) on {whose}, "
            "rollouts half as long as allowed"
        )
    return "\n".join(lines)


def _verdict(e: Experiment, found: Memory) -> str:
    if found.peak <= found.limit:
        return "fits"
    if found.updating > found.limit:
        less = "--micro_batch_size" if e.stages == ("alignment",) else "--tokens_per_micro_batch"
        return f"does NOT fit while updating: lower {less}" + ", or train adapters with --lora_rank 32" * (
            not e.lora_rank
        )
    return "does NOT fit while generating: lower --rollout_memory, or use more devices"


def _kernels(e: Experiment) -> str:
    packing = (
        "flash-attention: sequences are packed without padding"
        if has_flash_attention(e)
        else "no flash-attn package here: sequences are packed under a mask (SDPA), in micro-batches of at most "
        f"{micro_batch_limit(e):,} tokens (./install.sh --flash-attn)"
    )
    return packing + ("; no logits are kept (fused head)" if has_fused_head(e) else "; logits are kept whole")
