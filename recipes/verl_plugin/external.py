"""Loaded by verl in every process of a run (VERL_USE_EXTERNAL_MODULES): registers what verl looks up by name.

Imports nothing heavy: reward workers and the driver load it too.
"""

import importlib.util
import types
from typing import Any

import wrapt

ROLLOUT = ("vllm", "async")


@wrapt.when_imported("verl.workers.rollout.base")
def _register(module: types.ModuleType) -> None:
    module._ROLLOUT_REGISTRY[ROLLOUT] = "recipes.verl_plugin.weight_sync.RunServerAdapter"


@wrapt.when_imported("verl.utils.model")
def _critic_without_flash_attention(module: types.ModuleType) -> None:
    """verl loads a critic with flash-attention and nothing else; where that is not installed, with torch's own."""
    if importlib.util.find_spec("flash_attn") is None:
        module.load_valuehead_model = load_critic  # type: ignore[attr-defined]


def load_critic(local_path: str, torch_dtype: Any, model_config: Any, trust_remote_code: bool) -> Any:
    """A model with one output a token in place of its language head, as verl's load_valuehead_model gives it."""
    from transformers import AutoModelForTokenClassification

    return AutoModelForTokenClassification.from_pretrained(
        local_path,
        dtype=torch_dtype,
        config=model_config,
        attn_implementation="sdpa",
        trust_remote_code=trust_remote_code,
    )
