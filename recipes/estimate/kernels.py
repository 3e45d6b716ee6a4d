"""Which kernels a run will use: a function of the machine's packages and of the model. Imports none of them."""

import importlib.util
import json
from pathlib import Path

from eval.models import find_model
from recipes.settings.experiment import Experiment

# verl's fused head is hidden states times the vocabulary matrix and nothing else. Families whose logits are capped or
# scaled after it (Gemma 2, Cohere, Granite ...) would be trained on wrong probabilities without a word.
_PLAIN_HEADS = ("llama", "qwen2", "qwen3", "mistral")
_PLAIN_NAMES = ("qwen2.5", "qwen3", "llama-3", "mistral", "smollm2")


def has_flash_attention(experiment: Experiment) -> bool:
    """Whether sequences can be packed without padding."""
    return experiment.device == "cuda" and importlib.util.find_spec("flash_attn") is not None


def has_fused_head(experiment: Experiment) -> bool:
    """Whether log-probabilities and entropy are computed in pieces, so that logits of a micro-batch never exist.

    On a GPU a vocabulary of 150,000 makes them the largest array by far; and without flash-attention verl's own way
    takes one kernel launch a token.
    """
    return experiment.device == "cuda" and _plain_head(experiment.model)


def _plain_head(model: str) -> bool:
    config = Path(find_model(model)) / "config.json"
    if config.exists():
        return json.loads(config.read_text(encoding="utf-8")).get("model_type") in _PLAIN_HEADS
    return model.rpartition("/")[2].lower().startswith(_PLAIN_NAMES)
