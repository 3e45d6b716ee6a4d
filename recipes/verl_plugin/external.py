"""Loaded by verl in every process of a run (VERL_USE_EXTERNAL_MODULES): registers what verl looks up by name.

Imports nothing heavy: reward workers and the driver load it too.
"""

import types

import wrapt

ROLLOUT = ("vllm", "async")


@wrapt.when_imported("verl.workers.rollout.base")
def _register(module: types.ModuleType) -> None:
    module._ROLLOUT_REGISTRY[ROLLOUT] = "recipes.verl_plugin.weight_sync.RunServerAdapter"
