"""`python -m bench.cpu_hooks`: verl and vLLM on a CPU, as they are and with our replacements, interleaved.

    python -m bench.cpu_hooks [--rounds 20] [--out results/cpu_hooks.json]

sampling: one token for each of 128 seeded rows, by vLLM's sampler and by `vllm_cpu.sample_seeded`. log_probs: forward
and backward pass through the log-probabilities of 6,016 tokens, row by row as verl does it and by `log_probs.py`; with
the pages of large tensors returned to the system (glibc's default) and kept (the environment of a run). Median
milliseconds; a vocabulary of 1,259 entries, like the embedded model's.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

KEPT = ("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_")


def log_probs_elsewhere(rounds: int, variables: Mapping[str, str]) -> dict[str, float]:
    """`hook_cost.log_probs` in a separate process: glibc reads its variables when a process starts."""
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
    from recipes.verl_plugin import hook_cost

    if arguments.child:
        print(json.dumps(hook_cost.log_probs(arguments.rounds)))
        return
    from recipes.common.run_dir import RunDir, write_json
    from recipes.flags.resolve import build_experiment
    from recipes.settings.profiles import PROFILES
    from recipes.verl_plugin.environment import environment

    whole = environment(build_experiment({}, PROFILES["cpu"]), RunDir(Path("out")))
    found = {
        "rows": hook_cost.ROWS,
        "tokens": hook_cost.TOKENS,
        "vocabulary": hook_cost.VOCABULARY,
        "cores": os.cpu_count(),
        "sampling_ms": hook_cost.sampling(arguments.rounds),
        "log_probs_ms, pages given back": log_probs_elsewhere(arguments.rounds, {}),
        "log_probs_ms, pages kept": log_probs_elsewhere(arguments.rounds, {name: whole[name] for name in KEPT}),
    }
    print(json.dumps(found, indent=1))
    if arguments.out:
        write_json(arguments.out, found)


if __name__ == "__main__":
    main()
