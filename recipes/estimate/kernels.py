"""Which kernels a run will use, given the installed packages and the model. Imports none of them."""

from recipes.common.machine import flash_attention_installed
from recipes.estimate.model_shapes import config_of, known_shape
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import profile_named

# verl's fused head is hidden states times the vocabulary matrix and nothing else. Families that cap or scale their
# logits afterwards (Gemma 2, Cohere, Granite ...) would silently train on wrong probabilities.
_PLAIN_HEADS = ("llama", "qwen2", "qwen3", "mistral", "olmo2", "olmo3", "smollm3")
_PLAIN_NAMES = ("qwen2.5", "qwen3", "llama-3", "mistral", "smollm2")
# Without flash-attention a mask separates the packed sequences of a micro-batch. The mask and the work of attention
# grow with the square of the tokens: at this many, attention takes half as long as the rest of a 1.5 B model.
_UNDER_A_MASK = 8192
# Share of a device's memory that logits may take if they have to be kept.
_LOGITS = 0.2


def has_flash_attention(experiment: Experiment) -> bool:
    """Whether attention handles packed sequences without a mask. Training on answers (TRL) uses SDPA."""
    return experiment.device == "cuda" and experiment.stages != ("alignment",) and flash_attention_installed()


def has_fused_head(experiment: Experiment) -> bool:
    """Whether log-probabilities and entropy are computed in chunks, without the logits of a full micro-batch.

    With a vocabulary of 150,000 they would be by far the largest array; and without flash-attention verl's default path
    launches one kernel per token. TRL keeps full logits.
    """
    return experiment.device == "cuda" and experiment.stages != ("alignment",) and _plain_head(experiment.model)


def micro_batch_limit(experiment: Experiment) -> int:
    """Tokens a device trains on at once: --tokens_per_micro_batch, or fewer if this machine's kernels or the model's
    head need memory for each of them; never less than the longest sequence. Does not change what is learned."""
    e = experiment
    if e.device != "cuda":
        return e.tokens_per_micro_batch
    fitting = e.tokens_per_micro_batch
    if not has_flash_attention(e):
        fitting = min(fitting, _UNDER_A_MASK)
    shape = known_shape(e.model)
    if shape is not None and not has_fused_head(e):
        room = _LOGITS * profile_named(e.profile).memory_gb * 1e9
        fitting = min(fitting, int(room / logit_bytes(e, shape.vocabulary)))
    longest = e.max_prompt_length + e.max_hint_length + e.max_response_length
    return min(e.tokens_per_micro_batch, max(fitting, longest))


def logit_bytes(experiment: Experiment, vocabulary: int) -> float:
    """Bytes per token of logits and what their gradient needs, if logits are kept."""
    width = 4 if experiment.dtype == "float32" else 2
    if has_flash_attention(experiment):
        # Logits, and the gradients of entropy and log-probability with respect to them.
        return 3 * width * vocabulary
    # Logits twice, softmax and log-softmax in float32, and similar sizes for their gradients.
    return (2 * width + 8) * 1.8 * vocabulary


def _plain_head(model: str) -> bool:
    config = config_of(model)
    if config is not None:
        return config.get("model_type") in _PLAIN_HEADS
    # Only --dry_run guesses by name, for a model not downloaded yet; a start reads its configuration first.
    return model.rpartition("/")[2].lower().startswith(_PLAIN_NAMES)
