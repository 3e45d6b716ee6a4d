"""vLLM worker extension for the CPU: weights that verl's weight sync can load, and fast seeded sampling.

Passed to vLLM by name through rollout.engine_kwargs.vllm.worker_extension_cls.
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
    """A token for each row of `logits` (rows, vocabulary), from one uniform number of the row's own generator.

    vLLM draws one exponential number per row and vocabulary entry, and all of them twice: with a small model that takes
    longer than the model. Here the token is the first whose cumulative probability exceeds the number. If no row has a
    generator, or processed logits are requested, vLLM's own function is used. A row without one, as a greedy row, whose
    draw is not used, takes its number from torch's own stream: the text of a seeded row does not depend on it.
    """
    if not generators or sampler.logprobs_mode == "processed_logits":
        return _vllm_sample(sampler, logits, generators, k, p)
    logits = apply_top_k_top_p(logits, k, p)
    returned = None
    if sampler.logprobs_mode == "processed_logprobs":
        returned = logits.log_softmax(dim=-1, dtype=torch.float32)
    cumulated = logits.softmax(dim=-1, dtype=torch.float64).cumsum(dim=-1)
    drawn = [torch.rand((), generator=generators.get(row), dtype=torch.float64) for row in range(len(logits))]
    # Multiplied by the row's last sum, which is 1 only up to rounding.
    limits = torch.stack(drawn)[:, None] * cumulated[:, -1:]
    return torch.searchsorted(cumulated, limits, right=True)[:, 0], returned


class CPUWorkerExtension(WorkerExtension):
    """The extension of every run, plus two changes: `sample_seeded`, and no repacking of linear layers.

    vLLM on the CPU packs every linear weight after loading and drops the original with its weight loader, so the first
    weight sync would fail."""

    def __new__(cls, **kwargs: Any) -> "CPUWorkerExtension":
        vllm_layers.dispatch_cpu_unquantized_gemm = _keep_weight
        TopKTopPSampler.forward_cpu = sample_seeded
        return super().__new__(cls, **kwargs)
