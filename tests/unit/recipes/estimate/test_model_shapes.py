"""Sizes of models: those they were published with, those of small ones as transformers builds them."""

import json
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from recipes.estimate.memory import GB
from recipes.estimate.model_shapes import SHAPES, known_shape, shape_of_config
from tests import ROOT
from tests.helpers.estimates import OF_8B

SMALL = {
    "vocab_size": 512,
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
MIXTURES: dict[str, dict[str, Any]] = {
    "mixtral": {"intermediate_size": 96, "num_local_experts": 8, "num_experts_per_tok": 2},
    "olmoe": {"intermediate_size": 32, "num_experts": 8, "num_experts_per_tok": 3},
    "qwen2_moe": {
        "intermediate_size": 160,
        "moe_intermediate_size": 24,
        "shared_expert_intermediate_size": 80,
        "num_experts": 6,
        "num_experts_per_tok": 2,
        "mlp_only_layers": [1],
        "decoder_sparse_step": 2,
    },
    "qwen3_moe": {
        "intermediate_size": 160,
        "moe_intermediate_size": 24,
        "head_dim": 32,
        "num_experts": 16,
        "num_experts_per_tok": 4,
    },
}


@pytest.mark.parametrize("kind", MIXTURES)
def test_mixtures_of_experts_have_the_parameters_that_transformers_gives_them(kind: str) -> None:
    config = AutoConfig.for_model(kind, **SMALL, **MIXTURES[kind])
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    shape = shape_of_config(config.to_dict())
    experts = [each for name, each in model.named_parameters() if ".experts." in name]
    idle = 1 - shape.experts.used / shape.experts.count
    # But for normalisations of queries and keys.
    assert shape.parameters == pytest.approx(model.num_parameters(), rel=0.002)
    unused = idle * sum(each.numel() for each in experts)
    assert shape.active_parameters == pytest.approx(model.num_parameters() - unused, rel=0.003)
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear"))
    trained = sum(each.numel() for each in adapted.parameters() if each.requires_grad)
    assert shape.lora_parameters(4) == trained


def test_published_mixtures_have_their_names_sizes() -> None:
    """Mixtral-8x7B-v0.1 and Qwen3-30B-A3B, from their config.json: in billions, and how many of them are active."""
    mixtral = {"num_local_experts": 8, "num_experts_per_tok": 2, "vocab_size": 32000, "intermediate_size": 14336}
    mixtral |= {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8}
    qwen = {"num_experts": 128, "num_experts_per_tok": 8, "vocab_size": 151936, "moe_intermediate_size": 768}
    qwen |= {"hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4}
    qwen |= {"head_dim": 128, "intermediate_size": 6144}
    for config, total, active in ((mixtral, 46.7, 12.9), (qwen, 30.5, 3.3)):
        shape = shape_of_config(config)
        assert (shape.parameters / GB, shape.active_parameters / GB) == pytest.approx((total, active), abs=0.06)


@pytest.mark.parametrize(
    "other",
    [
        {"n_routed_experts": 8, "kv_lora_rank": 16},
        {**MIXTURES["qwen2_moe"], "mlp_only_layers": 3},
        {**MIXTURES["qwen2_moe"], "shared_expert_intermediate_size": "64"},
        {**MIXTURES["qwen2_moe"], "shared_expert_intermediate_size": -64},
        {**MIXTURES["qwen2_moe"], "num_experts": [6]},
    ],
    ids=str,
)
def test_other_kinds_of_mixtures_are_unknown_and_not_taken_for_these(other: dict[str, Any]) -> None:
    with pytest.raises(KeyError):
        shape_of_config({**SMALL, "intermediate_size": 64, **other})


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("Qwen2.5-0.5B", 0.494),
        ("Qwen2.5-1.5B", 1.544),
        ("Qwen2.5-3B", 3.086),
        ("Qwen2.5-7B", 7.616),
        ("Llama-3.2-1B", 1.236),
        ("Llama-3.2-3B", 3.213),
        ("Llama-3.1-8B", 8.030),
        ("Mistral-7B-v0.1", 7.242),
    ],
)
def test_parameters_are_those_the_models_were_published_with(name: str, published: float) -> None:
    assert SHAPES[name].parameters / GB == pytest.approx(published, abs=0.0006)


def test_the_embedded_models_parameters_are_those_in_its_file() -> None:
    from safetensors import safe_open

    folder = ROOT / "models/tiny-countdown"
    with safe_open(folder / "model.safetensors", "pt") as weights:
        stored = sum(weights.get_tensor(name).numel() for name in weights.keys())  # noqa: SIM118
    assert shape_of_config(json.loads((folder / "config.json").read_text())).parameters == stored


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        ("Qwen/Qwen2.5-1.5B", "Qwen2.5-1.5B"),
        ("Qwen/Qwen2.5-1.5B-Instruct", "Qwen2.5-1.5B"),
        ("Qwen/Qwen2.5-Math-7B", "Qwen2.5-7B"),
        ("meta-llama/Llama-3.2-1B-Instruct", "Llama-3.2-1B"),
    ],
)
def test_a_models_name_is_enough(model: str, shape: str) -> None:
    assert known_shape(model) == SHAPES[shape]


@pytest.mark.parametrize(
    ("config", "tied"),
    [
        ({"model_type": "gemma2"}, True),
        ({"model_type": "gemma2", "tie_word_embeddings": False}, False),
        ({"model_type": "llama"}, False),
        ({"model_type": "llama", "tie_word_embeddings": "false"}, False),
        ({"model_type": "llama", "tie_word_embeddings": True}, True),
    ],
)
def test_what_a_config_leaves_open_of_its_head_is_its_familys(config: dict[str, Any], tied: bool) -> None:
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    assert shape_of_config({**sizes, "vocab_size": 100, **config}).tied is tied


@pytest.mark.parametrize(
    ("config", "same"),
    [
        ({**OF_8B, "num_key_value_heads": None, "head_dim": None}, {"num_key_value_heads": 32, "head_dim": 128}),
        ({"model_type": "gemma3", "text_config": {**OF_8B, "head_dim": 128}}, {"head_dim": 128}),
    ],
    ids=["left open", "the decoder of a model that also sees"],
)
def test_a_config_is_read_as_transformers_reads_it(config: dict[str, Any], same: dict[str, int]) -> None:
    assert shape_of_config(config) == shape_of_config({**OF_8B, **same})
