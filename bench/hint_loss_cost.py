"""The cost of the hint's log-likelihood: verl's plain GRPO update and ours on the same batch, interleaved.

    python -m bench.hint_loss_cost [--model FOLDER] [--rounds 15] [--out results/hint_loss_cost.json]
Both use verl's FSDP2 engine in one process, the same rows (prompt, hint, generated tokens) and the same micro-batches;
only the loss function differs. Prints the median seconds per update, their ratio with its spread over rounds, and the
peak bytes of tensors created during an update.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from recipes.common.run_dir import RunDir, write_json
from recipes.flags.resolve import build_experiment
from recipes.settings.profiles import PROFILES
from recipes.verl_plugin.environment import environment


def main() -> None:
    """Command line; restarts itself in the environment of a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/tiny-countdown")
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if "VERL_PLATFORM" not in os.environ:
        alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
        experiment = build_experiment({"model": arguments.model}, PROFILES["cpu"])
        run_environment = environment(experiment, RunDir(Path(tempfile.mkdtemp())))
        command = [sys.executable, "-m", "bench.hint_loss_cost", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **run_environment, **alone})
    from recipes.verl_plugin.loss_cost import measure

    found = measure(arguments.model, arguments.rows, arguments.rounds)
    print(json.dumps(found, indent=1))
    if arguments.out:
        write_json(arguments.out, found)


if __name__ == "__main__":
    main()
