"""Loaded by verl in every process of a run (VERL_USE_EXTERNAL_MODULES): registers what verl looks up by name.

Imports nothing heavy: reward workers and the driver load it too. The hooks stand last: one whose module is already
imported is called where it is registered.
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
"""Parameters that mlflow takes in one call."""


def seeded(load: Callable[..., Any]) -> Callable[..., Any]:
    """`load` with torch's random numbers from the run's seed; those of everything else go on as before."""

    @functools.wraps(load)
    def loaded(*args: Any, **kwargs: Any) -> Any:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(os.environ[SEED]))
            return load(*args, **kwargs)

    return loaded


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


def without_head(select: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """`select`, verl's choice of the modules that FSDP2 shards each by itself, less the language head.

    verl's fused head multiplies by lm_head's weight and never calls lm_head, so nothing gathers a head that is sharded
    by itself (verl#7520). Left to the root module, as verl leaves a tied one, it is gathered with the model's forward
    and backward pass, for the memory of one more vocabulary matrix meanwhile. The plain head is right either way; it
    gets the same layout, so that there is only one to test.
    """

    @functools.wraps(select)
    def selected(model: Any, fsdp_transformer_layer_cls_to_wrap: Any) -> list[Any]:
        # By the last part of the name: an adapter puts its own in front of it.
        heads = [module for name, module in model.named_modules() if name.rpartition(".")[2] == "lm_head"]
        modules = select(model, fsdp_transformer_layer_cls_to_wrap)
        return [module for module in modules if module not in heads]

    return selected


def in_batches(compute: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """`compute`, what verl gives to mlflow as the parameters of a run, less those that are given to it here.

    mlflow takes a hundred at once, and verl's configuration has several: it would be refused, and the run would go on
    with nothing in mlflow but its name.
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
    """verl loads a critic with flash-attention and nothing else; where that is not installed, with torch's own.

    Its head starts from random numbers that verl does not seed: two runs with one seed would part at their second step.
    """
    without = not flash_attention_installed()
    module.load_valuehead_model = seeded(load_critic if without else module.load_valuehead_model)  # type: ignore


@wrapt.when_imported("verl.workers.engine.fsdp.transformer_impl")
def _adapter(module: types.ModuleType) -> None:
    """An adapter starts from random numbers that verl does not seed either."""
    engine = module.FSDPEngine
    engine._build_lora_module = seeded(engine._build_lora_module)


@wrapt.when_imported("verl.utils.fsdp_utils")
def _head(module: types.ModuleType) -> None:
    # apply_fsdp2, which others import by name, looks this one up in its module at every call.
    module._select_fsdp2_wrap_targets = without_head(module._select_fsdp2_wrap_targets)  # type: ignore[attr-defined]
