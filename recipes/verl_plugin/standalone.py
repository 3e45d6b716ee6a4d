"""verl's FSDP2 training worker on its own, configured as in a run, to measure and check losses without rollouts.

Needs the environment of a run (`environment.py`) and torch.distributed's variables.
"""

from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.utils.config import omega_conf_to_dataclass
from verl.utils.distributed import initialize_global_process_group
from verl.workers.engine_workers import TrainingWorker, TrainingWorkerConfig

from recipes.common.run_dir import RunDir
from recipes.flags.resolve import build_experiment
from recipes.settings.profiles import PROFILES
from recipes.verl_plugin.compose import compose_config
from recipes.verl_plugin.failed_rows import nested
from recipes.verl_plugin.verl_config import REINFORCEMENT, rl_config


def training_worker(model: str, folder: Path) -> tuple[TrainingWorker, Any, int, int]:
    """(worker, actor configuration, rank, ranks) on the CPU profile; initialises the process group."""
    _, rank, world = initialize_global_process_group()
    values = rl_config(
        build_experiment({"model": model}, PROFILES["cpu"]),
        run=RunDir(folder),
        model=model,
        train_file=folder,
        test_file=folder,
        resume_from=None,
    )
    worker, actor = worker_of(compose_config(REINFORCEMENT, values, []))
    return worker, actor, rank, world


def worker_of(config: DictConfig) -> tuple[TrainingWorker, Any]:
    """(worker, actor configuration) for a run's configuration; needs an initialised process group."""
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
    return worker, actor


def update_batch(columns: dict[str, list[torch.Tensor]], **settings: Any) -> TensorDict:
    """Rows of unpadded tensors as the input of an actor update; `settings` override the defaults of an unpacked one."""
    data = nested(columns)
    defaults = {
        "temperature": 1.0,
        "calculate_entropy": True,
        "use_remove_padding": False,
        "use_dynamic_bsz": True,
        "max_token_len_per_gpu": 8192,
        "micro_batch_size_per_gpu": 1,
        "use_fused_kernels": False,
    }
    tu.assign_non_tensor(data, **(defaults | settings))
    return data
