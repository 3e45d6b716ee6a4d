"""vLLM worker extension for the CPU: weights that verl's weight sync can load, and quick sampling with seeds.

Given to vLLM by name through rollout.engine_kwargs.vllm.worker_extension_cls.
"""

from typing import Any

import torch
import vllm.model_executor.layers.utils as vllm_layers
from vllm.v1.sample.ops.topk_topp_sampler import TopKTopPSampler, apply_top_k_top_p

from recipes.verl_plugin.weight_sync import WorkerExtension

_vllm_sample = TopKTopPSampler.forward_cpu


def _keep_weight(layer: torch.nn.Module, remove_weight: bool) -> None:
    layer.cpu_linear = torch.nn.functional.linear


def sample_seeded(
    sampler: TopKTopPSampler,
    logits: torch.Tensor,
    generators: dict[int, torch.Generator],
    k: torch.Tensor | None,
    p: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A token of each row of `logits` (rows, vocabulary), by one uniform number of the row's own generator.

    vLLM draws one exponential number for every entry of the vocabulary and row, and all of them twice: with a small
    model that takes longer than the model. The token here is the first whose cumulated probability exceeds the number.
    Where a row has no generator, or processed logits are asked for, it is vLLM's own way.
    """
    if len(generators) != len(logits) or sampler.logprobs_mode == "processed_logits":
        return _vllm_sample(sampler, logits, generators, k, p)
    logits = apply_top_k_top_p(logits, k, p)
    returned = None
    if sampler.logprobs_mode == "processed_logprobs":
        returned = logits.log_softmax(dim=-1, dtype=torch.float32)
    cumulated = logits.softmax(dim=-1, dtype=torch.float64).cumsum(dim=-1)
    drawn = [torch.rand((), generator=generators[row], dtype=torch.float64) for row in range(len(logits))]
    # Times the row's last sum: that is 1 only up to rounding.
    limits = torch.stack(drawn)[:, None] * cumulated[:, -1:]
    return torch.searchsorted(cumulated, limits, right=True)[:, 0], returned


class CPUWorkerExtension(WorkerExtension):
    """The extension of every run, plus two changes.

    No repacking of linear layers at load: vLLM on the CPU packs every linear weight after loading and drops the
    original with its weight loader, so the first weight sync would fail. And `sample_seeded`.
    """

    def __new__(cls, **kwargs: Any) -> "CPUWorkerExtension":
        vllm_layers.dispatch_cpu_unquantized_gemm = _keep_weight
        TopKTopPSampler.forward_cpu = sample_seeded
        return super().__new__(cls, **kwargs)
