"""What the hint's log-likelihood costs: verl's plain GRPO update and ours on the same batch, in turns, in one process.

    python -m bench.hint_loss_cost [--model FOLDER] [--rounds 15] [--out results/hint_loss_cost.json]
Both use verl's FSDP2 engine, the same rows (prompt, hint, generated tokens) and the same micro-batches; only the loss
function differs. Prints median seconds of an update, their ratio with the spread of the rounds, and peak memory.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from recipes.experiment import build_experiment
from recipes.profiles import PROFILES
from recipes.run_dir import RunDir, write_json
from recipes.verl_plugin.verl_config import environment

# Tokens of a row on the CPU profile: prompt, hint (a mean over the schedule), generation.
PROMPT, HINT, GENERATED = 11, 14, 22


def measure(model: str, rows: int, rounds: int) -> dict[str, Any]:
    """Time both losses in turns. Needs the environment of a run (see main)."""
    import torch
    from tensordict import TensorDict
    from verl.utils import tensordict_utils as tu
    from verl.utils.config import omega_conf_to_dataclass
    from verl.utils.distributed import initialize_global_process_group
    from verl.workers.engine_workers import TrainingWorker, TrainingWorkerConfig
    from verl.workers.utils.losses import ppo_loss

    from recipes.verl_plugin.actor_loss import HINT_TOKENS, HintLoss, actor_loss
    from recipes.verl_plugin.compose import compose_config
    from recipes.verl_plugin.verl_config import rl_config

    initialize_global_process_group()
    experiment = build_experiment({"model": model}, PROFILES["cpu"])
    folder = Path(tempfile.mkdtemp())
    values = rl_config(
        experiment, run=RunDir(folder), model=model, train_file=folder, test_file=folder, resume_from=None
    )
    config = compose_config("ppo_trainer", values, [])
    actor = config.actor_rollout_ref.actor
    worker = TrainingWorker(
        TrainingWorkerConfig(
            model_type="language_model",
            model_config=omega_conf_to_dataclass(config.actor_rollout_ref.model),
            engine_config=omega_conf_to_dataclass(actor.fsdp_config),
            optimizer_config=omega_conf_to_dataclass(actor.optim),
            checkpoint_config=omega_conf_to_dataclass(actor.checkpoint),
        )
    )
    worker.reset()
    vocabulary = worker.model_config.hf_config.vocab_size
    length = HINT + GENERATED

    def nested(values: torch.Tensor) -> torch.Tensor:
        return torch.nested.as_nested_tensor(list(values), layout=torch.jagged)

    def batch() -> TensorDict:
        torch.manual_seed(0)
        ids = torch.randint(1, vocabulary, (rows, PROMPT + length))
        mask = torch.cat([torch.zeros(rows, HINT), torch.ones(rows, GENERATED)], -1).long()
        columns = {
            "input_ids": ids,
            "position_ids": torch.arange(PROMPT + length).expand(rows, -1),
            "prompts": ids[:, :PROMPT],
            "responses": ids[:, PROMPT:],
            "response_mask": mask,
            "loss_mask": mask,
            "old_log_probs": -torch.rand(rows, length),
            "ref_log_prob": -torch.rand(rows, length),
            "advantages": torch.randn(rows, length) * mask,
        }
        data = TensorDict({name: nested(value) for name, value in columns.items()}, batch_size=rows)
        tu.assign_non_tensor(
            data,
            **{HINT_TOKENS: float(rows * HINT), "global_batch_size": rows},
            temperature=1.0,
            calculate_entropy=True,
            use_remove_padding=False,
            use_dynamic_bsz=True,
            max_token_len_per_gpu=experiment.tokens_per_micro_batch,
            use_fused_kernels=False,
        )
        return data

    settings = omega_conf_to_dataclass(actor)
    losses = {
        "verl GRPO": partial(ppo_loss, settings),
        "ours, rft (weight 0)": partial(actor_loss, settings, HintLoss(0.0, "token-mean")),
        "ours, uft": partial(actor_loss, settings, HintLoss(0.001, "token-mean")),
    }
    seconds: dict[str, list[float]] = {name: [] for name in losses}
    for turn in range(rounds + 2):
        for name, loss in losses.items():
            data = batch()
            started = time.perf_counter()
            with worker.engine.train_mode():
                worker.engine.train_batch(data, loss_function=loss)
            if turn >= 2:
                seconds[name].append(time.perf_counter() - started)
    plain = seconds["verl GRPO"]
    found: dict[str, Any] = {"rows": rows, "tokens_a_row": PROMPT + length, "hint_tokens_a_row": HINT, "rounds": rounds}
    for name, values in seconds.items():
        ratios = sorted(ours / theirs for ours, theirs in zip(values, plain, strict=True))
        found[name] = {
            "median_seconds": round(statistics.median(values), 4),
            "ratio_to_verl": round(statistics.median(ratios), 4),
            "ratio_quartiles": [round(ratios[len(ratios) // 4], 4), round(ratios[-1 - len(ratios) // 4], 4)],
        }
    found["peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    found["versions"] = {name: version(name) for name in ("verl", "torch", "transformers")}
    found["cores"] = os.cpu_count()
    return found


def main() -> None:
    """Command line; starts itself again in the environment of a run."""
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
    found = measure(arguments.model, arguments.rows, arguments.rounds)
    print(json.dumps(found, indent=1))
    if arguments.out:
        write_json(arguments.out, found)


if __name__ == "__main__":
    main()
