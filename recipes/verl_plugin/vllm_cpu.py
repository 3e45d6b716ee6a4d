"""vLLM worker extension for the CPU: keeps linear weights in the form verl's weight sync can load.

Given to vLLM by name through rollout.engine_kwargs.vllm.worker_extension_cls.
"""

from typing import Any

import torch
import vllm.model_executor.layers.utils as vllm_layers

from recipes.verl_plugin.weight_sync import WorkerExtension


def _keep_weight(layer: torch.nn.Module, remove_weight: bool) -> None:
    layer.cpu_linear = torch.nn.functional.linear


class CPUWorkerExtension(WorkerExtension):
    """The extension of every run, plus one change: no repacking of linear layers at load.

    vLLM on the CPU packs every linear weight after loading and drops the original with its weight loader, so the
    first weight sync would fail.
    """

    def __new__(cls, **kwargs: Any) -> "CPUWorkerExtension":
        vllm_layers.dispatch_cpu_unquantized_gemm = _keep_weight
        return super().__new__(cls, **kwargs)
