"""`python -m bench.cpu_hooks`: what verl and vLLM do on a CPU beside what is put in its place, in turns.

    python -m bench.cpu_hooks [--rounds 20] [--out results/cpu_hooks.json]

sampling: a token of each of 128 seeded rows, by vLLM's sampler and by `vllm_cpu.sample_seeded`. log_probs: forward and
backward through the log-probabilities of 6,016 tokens, by verl's row-by-row way and by `log_probs.py`; with the large
tensors' pages given back to the system (glibc's way) and kept (the environment of a run). Median milliseconds; 1,259
entries in the vocabulary, as the embedded model has.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from run import enter_environment

ROWS, TOKENS, VOCABULARY = 128, 6016, 1259
KEPT = ("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_")


def in_turns(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each way; the first round is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            taken[name].append(1000 * (time.perf_counter() - started))
    return {name: round(statistics.median(times[1:]), 2) for name, times in taken.items()}


def sampling(rounds: int) -> dict[str, float]:
    """Milliseconds of a decoding step's draw."""
    import torch
    from vllm.v1.sample.ops.topk_topp_sampler import TopKTopPSampler

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
    """Milliseconds of the log-probabilities of a micro-batch and of their gradient."""
    import torch
    from verl.utils.torch_functional import logprobs_from_logits_v2

    from recipes.verl_plugin.log_probs import log_probs_in_blocks

    logits = torch.randn(TOKENS, VOCABULARY, requires_grad=True)
    labels = torch.randint(VOCABULARY, (TOKENS,))

    def through(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(function(1.0 * logits, labels).sum(), logits)

    return in_turns({"verl's": through(logprobs_from_logits_v2), "in blocks": through(log_probs_in_blocks)}, rounds)


def log_probs_elsewhere(rounds: int, variables: Mapping[str, str]) -> dict[str, float]:
    """`log_probs` in a process of its own: glibc reads its variables when a process starts."""
    plain = {name: value for name, value in os.environ.items() if name not in KEPT}
    command = [sys.executable, "-m", "bench.cpu_hooks", "--child", "--rounds", str(rounds)]
    done = subprocess.run(command, env=plain | dict(variables), check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(log_probs(arguments.rounds)))
        return
    from recipes.profiles import PROFILES
    from recipes.resolve import build_experiment
    from recipes.run_dir import RunDir, write_json
    from recipes.verl_plugin.environment import environment

    whole = environment(build_experiment({}, PROFILES["cpu"]), RunDir(Path("out")))
    found = {
        "rows": ROWS,
        "tokens": TOKENS,
        "vocabulary": VOCABULARY,
        "cores": os.cpu_count(),
        "sampling_ms": sampling(arguments.rounds),
        "log_probs_ms, pages given back": log_probs_elsewhere(arguments.rounds, {}),
        "log_probs_ms, pages kept": log_probs_elsewhere(arguments.rounds, {name: whole[name] for name in KEPT}),
    }
    print(json.dumps(found, indent=1))
    if arguments.out:
        write_json(arguments.out, found)


if __name__ == "__main__":
    enter_environment(["-m", "bench.cpu_hooks", *sys.argv[1:]])
    main()
