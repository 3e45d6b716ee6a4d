"""What model_check says of transformers and vLLM is so in the installed versions."""

import pytest
from transformers import CONFIG_MAPPING

from recipes.checks.model_check import HEADS_ON_CPU, NOT_VERLS

pytestmark = pytest.mark.contract


@pytest.mark.parametrize("kind", NOT_VERLS)
def test_these_families_have_no_key_value_heads_for_verl_to_read(kind: str) -> None:
    assert not hasattr(CONFIG_MAPPING[kind]().get_text_config(), "num_key_value_heads")


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "qwen3_moe", "gemma2", "mistral", "phi3", "smollm3"])
def test_those_people_train_have_them(kind: str) -> None:
    assert hasattr(CONFIG_MAPPING[kind]().get_text_config(), "num_key_value_heads")


def test_sizes_of_heads_are_vllms() -> None:
    cpu_attn = pytest.importorskip("vllm.v1.attention.backends.cpu_attn")
    assert list(HEADS_ON_CPU) == cpu_attn.CPUAttentionBackend.get_supported_head_sizes()
