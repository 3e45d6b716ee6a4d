"""Shapes of common models, with their parameters and bytes per token.

Taken from the models' published config.json; the shape of a local model is read from its own.
"""

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.models import find_model
from recipes.estimate.config_fields import section, several, whole


@dataclass(frozen=True)
class Experts:
    """The mixture of experts that replaces the MLP in some layers (Mixtral, Qwen2-MoE, Qwen3-MoE, OLMoE)."""

    layers: int = 0
    """Layers with experts; the others have a plain MLP."""

    count: int = 0
    used: int = 0
    """Experts per token."""

    intermediate: int = 0
    """Intermediate size of one expert."""

    shared: int = 0
    """Intermediate size of the shared expert that every token also goes through; 0 for none."""

    def parameters(self, hidden: int, count: int) -> int:
        """Parameters of one layer with `count` experts, including the router and the shared expert's gate."""
        gated = 3 * self.shared * hidden + hidden if self.shared else 0
        return 3 * count * self.intermediate * hidden + self.count * hidden + gated

    def adapted(self, hidden: int) -> int:
        """Parameters of rank-1 adapters in one layer. peft adapts the shared expert and its gate; without one, the
        router and each expert, whose gate and up projections are one matrix with an adapter of twice the rank."""
        if self.shared:
            return 3 * (hidden + self.shared) + hidden + 1
        each = 2 * (hidden + 2 * self.intermediate) + hidden + self.intermediate
        return hidden + self.count + self.count * each


@dataclass(frozen=True)
class ModelShape:
    """A decoder with grouped-query attention and gated MLPs or mixtures of experts (Llama, Qwen2 and similar)."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    attention_bias: bool
    experts: Experts = field(default_factory=Experts)

    @property
    def embedding(self) -> int:
        """Parameters of one vocabulary matrix."""
        return self.vocabulary * self.hidden

    @property
    def attention(self) -> int:
        """Parameters of one layer's attention and normalisation."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        bias = q + 2 * kv if self.attention_bias else 0
        return self.hidden * (2 * q + 2 * kv) + bias + 2 * self.hidden

    @property
    def per_layer(self) -> int:
        """Parameters of the largest layer."""
        mlp = 3 * self.hidden * self.intermediate if self.experts.layers < self.layers else 0
        mixture = self.experts.parameters(self.hidden, self.experts.count) if self.experts.layers else 0
        return self.attention + max(mlp, mixture)

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self._parameters(self.experts.count)

    @property
    def active_parameters(self) -> int:
        """Parameters used per token."""
        return self._parameters(self.experts.used)

    def _parameters(self, experts: int) -> int:
        mlps = (self.layers - self.experts.layers) * 3 * self.hidden * self.intermediate
        mixtures = self.experts.layers * self.experts.parameters(self.hidden, experts) if self.experts.layers else 0
        inner = self.layers * self.attention + mlps + mixtures
        return inner + self.hidden + self.embedding * (1 if self.tied else 2)

    def lora_parameters(self, rank: int) -> int:
        """Parameters of peft's adapters of that rank on every linear layer except the vocabulary's."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = 2 * (self.hidden + q) + 2 * (self.hidden + kv)
        mlps = (self.layers - self.experts.layers) * 3 * (self.hidden + self.intermediate)
        return rank * (self.layers * attention + mlps + self.experts.layers * self.experts.adapted(self.hidden))

    def kv_bytes(self, width: int) -> int:
        """Bytes of keys and values per token, for numbers of `width` bytes."""
        return 2 * self.layers * self.kv_heads * self.head_dim * width

    def layer_bytes(self, width: int) -> int:
        """Bytes per token of intermediate results that one layer's backward pass needs.

        Two normalisations (float32), queries, keys, values, attention's output and projection, two residual sums, and
        the MLP's gate, up, activation and product.
        """
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return width * (2 * q + 2 * kv + 4 * self.hidden + 4 * self.widest) + 8 * self.hidden

    def uneven_heads(self, ranks: int) -> str:
        """Which attention heads do not split evenly over `ranks`; empty if all do. There may also be fewer KV heads
        than ranks, which are then replicated."""
        if self.heads % ranks:
            return f"{self.heads} attention heads"
        return f"{self.kv_heads} heads of keys and values" if self.kv_heads % ranks and ranks % self.kv_heads else ""

    def uneven(self, ranks: int) -> str:
        """As `uneven_heads`, for everything that tensor parallelism splits."""
        plain = self.intermediate if self.experts.layers < self.layers else 0
        widths = (plain, self.experts.intermediate, self.experts.shared)
        cut = next((width for width in widths if width % ranks), None)
        return self.uneven_heads(ranks) or (f"{cut:,} columns of an MLP" if cut else "")

    @property
    def widest(self) -> int:
        """Intermediate size per token in the widest layer."""
        mixture = self.experts.used * self.experts.intermediate + self.experts.shared
        return max(mixture, self.intermediate if self.experts.layers < self.layers else 0)


def _qwen(layers: int, hidden: int, intermediate: int, heads: int, kv: int, *, dim: int = 128) -> ModelShape:
    vocabulary = 152064 if hidden == 3584 else 151936
    return ModelShape(layers, hidden, intermediate, heads, kv, dim, vocabulary, hidden < 3584, attention_bias=True)


SHAPES: dict[str, ModelShape] = {
    "Qwen2.5-0.5B": _qwen(24, 896, 4864, 14, 2, dim=64),
    "Qwen2.5-1.5B": _qwen(28, 1536, 8960, 12, 2),
    "Qwen2.5-3B": _qwen(36, 2048, 11008, 16, 2),
    "Qwen2.5-7B": _qwen(28, 3584, 18944, 28, 4),
    "Llama-3.2-1B": ModelShape(16, 2048, 8192, 32, 8, 64, 128256, tied=True, attention_bias=False),
    "Llama-3.2-3B": ModelShape(28, 3072, 8192, 24, 8, 128, 128256, tied=True, attention_bias=False),
    "Llama-3.1-8B": ModelShape(32, 4096, 14336, 32, 8, 128, 128256, tied=False, attention_bias=False),
    "SmolLM2-135M": ModelShape(30, 576, 1536, 9, 3, 64, 49152, tied=True, attention_bias=False),
    "SmolLM2-360M": ModelShape(32, 960, 2560, 15, 5, 64, 49152, tied=True, attention_bias=False),
    "SmolLM2-1.7B": ModelShape(24, 2048, 8192, 32, 32, 64, 49152, tied=True, attention_bias=False),
    "Mistral-7B-v0.1": ModelShape(32, 4096, 14336, 32, 8, 128, 32000, tied=False, attention_bias=False),
}


def shape_of_config(config: dict[str, Any]) -> ModelShape:
    """The shape that a config.json describes. Raises KeyError if it is another kind of model, or none."""
    config = decoder_of(config)
    heads, hidden = (_size(config, name) for name in ("num_attention_heads", "hidden_size"))
    return ModelShape(
        layers=_size(config, "num_hidden_layers"),
        hidden=hidden,
        intermediate=_size(config, "intermediate_size"),
        heads=heads,
        kv_heads=_size(config, "num_key_value_heads", heads),
        head_dim=_size(config, "head_dim", hidden // heads),
        vocabulary=_size(config, "vocab_size"),
        tied=_is_tied(config),
        attention_bias=config.get("model_type") in ("qwen2", "qwen2_moe") or config.get("attention_bias", False),
        experts=_experts_of(config),
    )


def decoder_of(config: dict[str, Any]) -> dict[str, Any]:
    """A model's configuration; for a vision-language model its decoder's."""
    return {**config, **section(config, "text_config")}


def _size(config: dict[str, Any], name: str, default: int | None = None) -> int:
    """A whole number above 0, or the default if absent. Raises KeyError for anything else, such as a list per layer."""
    found = default if config.get(name) is None else whole(config, name)
    if not found:
        raise KeyError(name)
    return found


_TIED = (
    *("gemma", "gemma2", "gemma3_text", "gemma4_text", "vaultgemma", "cohere", "cohere2", "smollm3", "starcoder2"),
    *("ernie4_5", "lfm2"),
)
"""Families that tie their vocabulary matrices unless config.json says otherwise."""


def _is_tied(config: dict[str, Any]) -> bool:
    told = config.get("tie_word_embeddings")
    return told if isinstance(told, bool) else config.get("model_type") in _TIED


def _experts_of(config: dict[str, Any]) -> Experts:
    """Experts as transformers' configurations name them. Raises KeyError for other kinds (DeepSeek's, whose attention
    differs too)."""
    if "n_routed_experts" in config:
        raise KeyError("n_routed_experts")
    if not (config.get("num_local_experts") or config.get("num_experts")):
        return Experts()
    dense = several(config, "mlp_only_layers")
    if dense is None:
        raise KeyError("mlp_only_layers")
    every = _size(config, "decoder_sparse_step", 1)
    mixed = [n for n in range(config["num_hidden_layers"]) if n not in dense and (n + 1) % every == 0]
    return Experts(
        layers=len(mixed),
        count=_size(config, "num_local_experts" if config.get("num_local_experts") else "num_experts"),
        used=_size(config, "num_experts_per_tok"),
        intermediate=_size(config, "moe_intermediate_size", _size(config, "intermediate_size")),
        shared=_size(config, "shared_expert_intermediate_size") if config.get("shared_expert_intermediate_size") else 0,
    )


def config_of(model: str) -> dict[str, Any] | None:
    """The config.json of a model in a folder or the hub's local cache; None if it is in neither."""
    folder = Path(find_model(model))
    file: object = folder / "config.json"
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache

        with suppress(ValueError):  # not a valid hub name
            file = try_to_load_from_cache(model, "config.json")
    if not isinstance(file, str | Path) or not Path(file).is_file():
        return None
    found = json.loads(Path(file).read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else None


def known_shape(model: str) -> ModelShape | None:
    """The shape of a local model, or of a hub name in the table above (base, instruct, math, coder)."""
    config = config_of(model)
    if config is not None:
        try:
            return shape_of_config(config)
        except KeyError:
            return None
    name = re.sub(r"-(Math|Coder)(?=-)", "", model.rpartition("/")[2])
    return SHAPES.get(re.sub(r"-(Instruct|Base)$", "", name))


_TINY = 10_000_000
"""Parameters; published models have more, models that learn a task from random weights on two cores have fewer."""


def is_tiny(model: str) -> bool:
    """Whether a model is like the embedded ones, whose learning rates are a thousand times those of other models."""
    shape = known_shape(model)
    return shape is not None and shape.parameters < _TINY
