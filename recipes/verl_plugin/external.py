"""Loaded by verl in every process of a run (VERL_USE_EXTERNAL_MODULES): registers what verl looks up by name.

Imports nothing heavy, since reward workers and the driver load it too. The hooks come last, because a hook whose module
is already imported runs as soon as it is registered.
"""

import functools
import os
import types
from collections.abc import Callable
from typing import Any

import wrapt

import recipes.common.loopback  # noqa: F401  (hooks)
from recipes.common.machine import flash_attention_installed

ROLLOUT = ("vllm", "async")
SEED = "UFT_SEED"
"""Environment variable with the run's seed."""

MLFLOW_AT_ONCE = 100
"""Parameters that mlflow accepts per call."""


def seeded(load: Callable[..., Any]) -> Callable[..., Any]:
    """`load` with torch's random numbers seeded by the run's seed; the global random state is left unchanged."""

    @functools.wraps(load)
    def loaded(*args: Any, **kwargs: Any) -> Any:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(os.environ[SEED]))
            return load(*args, **kwargs)

    return loaded


def load_critic(local_path: str, torch_dtype: Any, model_config: Any, trust_remote_code: bool) -> Any:
    """A model with one output per token instead of its language head, like verl's load_valuehead_model."""
    from transformers import AutoModelForTokenClassification

    return AutoModelForTokenClassification.from_pretrained(
        local_path,
        dtype=torch_dtype,
        config=model_config,
        attn_implementation="sdpa",
        trust_remote_code=trust_remote_code,
    )


def without_head(select: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """`select`, verl's choice of modules that FSDP2 shards separately, without the language head.

    verl's fused head multiplies by lm_head's weight and never calls lm_head, so a separately sharded head is never
    gathered (verl#7520). As part of the root module, like a tied head in verl, it is gathered for the model's forward
    and backward pass, at the memory cost of one more vocabulary matrix. The plain head works either way and gets the
    same layout, so that only one needs testing.
    """

    @functools.wraps(select)
    def selected(model: Any, fsdp_transformer_layer_cls_to_wrap: Any) -> list[Any]:
        # By the last part of the name, since adapters add prefixes.
        heads = [module for name, module in model.named_modules() if name.rpartition(".")[2] == "lm_head"]
        modules = select(model, fsdp_transformer_layer_cls_to_wrap)
        return [module for module in modules if module not in heads]

    return selected


def in_batches(compute: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """`compute`, verl's parameters of a run for mlflow, returning only the first batch and logging the rest here.

    mlflow accepts a hundred per call and verl's configuration has several hundred: it would reject them all, and the
    run would continue with only its name in mlflow.
    """

    @functools.wraps(compute)
    def computed(config: Any) -> dict[str, Any]:
        import mlflow

        found = list(compute(config).items())
        for at in range(MLFLOW_AT_ONCE, len(found), MLFLOW_AT_ONCE):
            mlflow.log_params(dict(found[at : at + MLFLOW_AT_ONCE]))
        return dict(found[:MLFLOW_AT_ONCE])

    return computed


@wrapt.when_imported("verl.utils.tracking")
def _mlflow(module: types.ModuleType) -> None:
    computed = in_batches(module._compute_mlflow_params_from_objects)
    module._compute_mlflow_params_from_objects = computed  # type: ignore[attr-defined]


@wrapt.when_imported("verl.workers.rollout.base")
def _register(module: types.ModuleType) -> None:
    module._ROLLOUT_REGISTRY[ROLLOUT] = "recipes.verl_plugin.weight_sync.RunServerAdapter"


@wrapt.when_imported("verl.utils.torch_functional")
def _log_probs(module: types.ModuleType) -> None:
    from recipes.verl_plugin.log_probs import log_probs_in_blocks

    module.logprobs_from_logits_v2 = log_probs_in_blocks  # type: ignore[attr-defined]


@wrapt.when_imported("verl.utils.model")
def _critic(module: types.ModuleType) -> None:
    """verl loads a critic only with flash-attention; if that is not installed, torch's own attention is used.

    Its head is initialised randomly without a seed in verl: two runs with the same seed would differ from step 2 on.
    """
    without = not flash_attention_installed()
    module.load_valuehead_model = seeded(load_critic if without else module.load_valuehead_model)  # type: ignore


@wrapt.when_imported("verl.workers.engine.fsdp.transformer_impl")
def _adapter(module: types.ModuleType) -> None:
    """An adapter is initialised randomly, also without a seed in verl."""
    engine = module.FSDPEngine
    engine._build_lora_module = seeded(engine._build_lora_module)


@wrapt.when_imported("verl.utils.fsdp_utils")
def _head(module: types.ModuleType) -> None:
    # apply_fsdp2, which others import by name, looks this function up in its module at every call.
    module._select_fsdp2_wrap_targets = without_head(module._select_fsdp2_wrap_targets)  # type: ignore[attr-defined]
