"""The estimates of memory and time as --dry_run prints them."""

from dataclasses import replace

from recipes.common.machine import main_memory
from recipes.estimate.kernels import has_flash_attention, has_fused_head, micro_batch_limit
from recipes.estimate.memory import GB, Memory, estimate_memory, supervised_alone
from recipes.estimate.micro_batch import ADAPTERS, fits, smaller, with_adapters
from recipes.estimate.model_shapes import config_of, known_shape
from recipes.estimate.step_time import estimate_time
from recipes.settings.experiment import Experiment


def describe_memory(experiment: Experiment) -> str:
    """Both estimates as lines of --dry_run, with a warning if the run does not fit the device."""
    shape = known_shape(experiment.model)
    if shape is None:
        why = (
            "it is not a folder with a config.json"
            if config_of(experiment.model) is None
            else "its config.json describes an architecture unknown here"
        )
        return f"memory:        unknown: the shape of this model is not in recipes/estimate/model_shapes.py, and {why}"
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
        f"memory:        estimates for {place}, in GB ({shape.parameters / GB:.3g} B parameters): at most, with every "
        "sequence as long as allowed",
        f"               updating   {found.updating / GB:6.1f}  {listed}",
    ]
    if alone := supervised_alone(experiment):
        first = estimate_memory(alone, shape)
        lines.append(
            f"               supervised {first.updating / GB:6.1f}  on the first node's {alone.n_gpu} device(s) alone: "
            f"{_verdict(alone, first, first.limit)}"
        )
    if found.limit and "rl" in experiment.stages:
        lines.append(
            f"               generating {found.generating / GB:6.1f}  engine {found.engine / GB:.1f} with room for "
            f"{found.kv_tokens:,} tokens of keys and values"
        )
    if limit := found.limit or float(main_memory() or 0):
        verdict = _verdict(experiment, found, limit)
        if alone and verdict == "fits" and first.peak > limit:
            verdict = "does NOT fit in the supervised stage"
        lines.append(f"               of         {limit / GB:6.1f}  {verdict}")
    if experiment.device == "cuda" and experiment.stages != ("alignment",):
        lines.append(f"               {_kernels(experiment)}")
    if "rl" in experiment.stages:
        seconds = estimate_time(experiment, shape)
        whose = "two cores" if experiment.device == "cpu" else "an H100 at 40 % of its peak"
        lines.append(
            f"time:          about {seconds.total:.0f} s per step (generating {seconds.generate:.0f}, "
            f"log-probabilities {seconds.log_probs:.0f}, updating {seconds.update:.0f}) on {whose}, "
            f"rollouts half as long as allowed; {experiment.T} steps {_long(experiment.T * seconds.total)}"
        )
    return "\n".join(lines)


def _verdict(e: Experiment, found: Memory, limit: float) -> str:
    if found.peak > limit >= found.updating and e.device == "cuda":
        return f"does NOT fit while generating: {_smaller_engine(e, found, limit)}use more devices"
    if found.peak > limit:
        at_worst = " where sequences are as long as allowed" if e.device == "cpu" and _by_length(found, limit) else ""
        return f"does NOT fit{' while updating' * (e.device == 'cuda')}{at_worst}; {_less(e, found, limit)}"
    longest = e.prompt_length + e.response_length
    if e.device == "cuda" and "rl" in e.stages and found.kv_tokens < longest:
        return f"does NOT fit: a sequence may have {longest:,} tokens; raise --rollout_memory or --tp_size"
    return "fits"


def _smaller_engine(e: Experiment, found: Memory, limit: float) -> str:
    """Advice: the engine's largest share of the device that fits and holds a sequence, or else a smaller model."""
    share = int(100 * (found.engine - found.generating + limit) / limit) / 100
    shape = known_shape(e.model)
    if share > 0 and shape is not None:
        room = estimate_memory(replace(e, rollout_memory=share), shape).kv_tokens
        if room >= e.prompt_length + e.response_length:
            return f"lower --rollout_memory to {share:g}, or "
    return "use a smaller model, or "


def _by_length(found: Memory, limit: float) -> bool:
    """Whether it would fit without activations and logits, that is, with shorter sequences."""
    return found.updating - found.activations - found.head <= limit


def _less(e: Experiment, found: Memory, limit: float) -> str:
    """Changes that would make it fit: each one alone, or two together; else a smaller model."""
    adapters = [] if e.lora_rank else [(f"--lora_rank {ADAPTERS}", with_adapters(e))]
    held = adapters or [("", e)]
    bits = [
        (f"{words} --load_in_4bit".strip(), replace(each, alignment=replace(each.alignment, load_in_4bit=True)))
        for words, each in held
        if e.stages == ("alignment",) and e.device == "cuda" and not e.alignment.bits
    ]
    both = [(f"{words} {less}", each) for words, with_ in adapters + bits for less, each in _fewer_rows(with_)]

    def first(some: list[tuple[str, Experiment]]) -> list[str]:
        return [words for words, each in some if fits(each, limit)][:1]

    enough = [*first(_fewer_rows(e)), *first(adapters or bits)] or first(bits) or first(both)
    if e.device == "cpu" and _by_length(found, limit):
        enough.append("shorter sequences (--max_response_length)")
    return f"enough would be {' or '.join(enough)}" if enough else "take a smaller model or more devices"


def _fewer_rows(e: Experiment) -> list[tuple[str, Experiment]]:
    """Flags for smaller micro-batches, largest first, each with the resulting experiment."""
    if e.stages == ("alignment",):
        return [(f"--micro_batch_size {each.alignment.micro_batch_size}", each) for each in smaller(e)[1:]]
    usual, longest = e.tokens_per_micro_batch, e.prompt_length + e.response_length
    sizes = [usual >> halved for halved in range(1, 16) if usual >> halved >= longest]
    return [(f"--tokens_per_micro_batch {size}", replace(e, tokens_per_micro_batch=size)) for size in sizes]


def _long(seconds: float) -> str:
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


def _kernels(e: Experiment) -> str:
    packing = (
        "flash-attention: sequences are packed without padding"
        if has_flash_attention(e)
        else "no flash-attn package here: sequences are packed under a mask (SDPA), in micro-batches of at most "
        f"{micro_batch_limit(e):,} tokens (./install.sh --flash-attn)"
    )
    return packing + ("; no logits are kept (fused head)" if has_fused_head(e) else "; full logits are kept")
