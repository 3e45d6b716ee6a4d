"""Times verl's and vLLM's CPU functions against our replacements, interleaved (see bench/cpu_hooks.py)."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch
from verl.utils.torch_functional import logprobs_from_logits_v2

from recipes.verl_plugin.log_probs import log_probs_in_blocks

ROWS, TOKENS, VOCABULARY = 128, 6016, 1259


def in_turns(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each function, run alternately; the first round is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            taken[name].append(1000 * (time.perf_counter() - started))
    return {name: round(statistics.median(times[1:]), 2) for name, times in taken.items()}


def sampling(rounds: int) -> dict[str, float]:
    """Milliseconds to sample the tokens of a decoding step."""
    from vllm.v1.sample.ops.topk_topp_sampler import TopKTopPSampler

    # Importing vLLM takes seconds, and the other measurement does not need it.
    from recipes.verl_plugin.vllm_cpu import sample_seeded

    sampler = object.__new__(TopKTopPSampler)
    sampler.logprobs_mode, sampler.use_fp64_gumbel = "processed_logprobs", False
    seeded = {row: torch.Generator().manual_seed(row) for row in range(ROWS)}
    logits = torch.randn(ROWS, VOCABULARY)
    return in_turns(
        {
            "vLLM's": lambda: sampler.forward_cpu(logits.clone(), seeded, None, None),
            "sample_seeded": lambda: sample_seeded(sampler, logits.clone(), seeded, None, None),
        },
        rounds,
    )


def log_probs(rounds: int) -> dict[str, float]:
    """Milliseconds for the log-probabilities of a micro-batch and their gradient."""
    logits = torch.randn(TOKENS, VOCABULARY, requires_grad=True)
    labels = torch.randint(VOCABULARY, (TOKENS,))

    def through(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(function(1.0 * logits, labels).sum(), logits)

    return in_turns({"verl's": through(logprobs_from_logits_v2), "in blocks": through(log_probs_in_blocks)}, rounds)
