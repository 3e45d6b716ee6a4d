"""What a running system (Ray, workers, engine) was started from, and how its workers are reset for the next run."""

import gc
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recipes.common.loopback import TOKEN_PATH
from recipes.watch.processes import MARK
from recipes.watch.scratch import CACHES

OF_A_RUN = frozenset(
    {MARK, "TENSORBOARD_DIR", "UFT_SEED", "TMPDIR", "PYTEST_CURRENT_TEST", "_", "SHLVL", "OLDPWD", TOKEN_PATH, *CACHES}
)
"""Environment variables that may differ between runs of one system: its processes do not read them, or have their own
values.

UFT_SEED is read by a worker that initialises a critic's head: `renew` sets it."""

_PER_REQUEST = frozenset({"n", "temperature", "seed", "agent", "val_kwargs", "trace"})
"""Rollout settings sent with every request (recipes/verl_plugin/agent_loop.py) or read only by a run's own processes.

The engine's seed affects none of our samples: each has its own."""

FILES = "files"
"""Key of the stamps of the model's files and of the user's own code."""

_LENGTHS = ("max_model_len", "prompt_length", "response_length")
"""Rollout limits that an engine started for longer rollouts can also apply: see `limit`."""


def started_from(config: Any, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the engine, the reward workers, the data plane and Ray depend on, to compare two runs.

    The workers of actor and reference are reset for every run, so only their roles are included.

    Args:
        config: verl's full configuration, resolved.
        asked: the client's request (serve_client.py).
    """
    from omegaconf import OmegaConf
    from verl.trainer.distillation import is_distillation_enabled
    from verl.trainer.ppo.utils import need_critic, need_reference_policy

    whole = OmegaConf.to_container(config, resolve=True)
    model, rollout = whole["actor_rollout_ref"]["model"], whole["actor_rollout_ref"]["rollout"]
    names = ["reward", "transfer_queue", "global_profiler", "ray_kwargs"]
    names += ["distillation"] if is_distillation_enabled(config.get("distillation")) else []
    found: dict[str, Any] = {name: whole.get(name) for name in names}
    found["rollout"] = {
        name: value
        for name, value in rollout.items()
        if name not in _PER_REQUEST and name not in _LENGTHS and not name.startswith("log_prob_")
    }
    found["longest"] = rollout["max_model_len"] or math.inf
    found["machine"] = {name: whole["trainer"][name] for name in ("device", "n_gpus_per_node", "nnodes")}
    if rollout["full_determinism"]:
        found["seed"] = rollout["seed"]
    if need_critic(config):
        # Its optimiser's schedule depends on the number of steps.
        found["critic"] = (whole["critic"], whole["trainer"]["total_training_steps"])
    own = [whole["uft"]["algorithm"], str(whole["reward"]["custom_reward_function"]["reward_kwargs"].get("reward"))]
    code = [Path(name.partition(":")[0]) for name in own]
    return found | {
        "model": model,
        "reference": need_reference_policy(config),
        "folder": asked["folder"],
        "environment": {name: value for name, value in asked["environment"].items() if name not in OF_A_RUN},
        FILES: _stamps([Path(model["path"]) / "*", *(file.parent / "*.py" for file in code if file.suffix == ".py")]),
    }


def in_the_way(up: dict[str, Any], needed: dict[str, Any]) -> list[str]:
    """Why a system cannot run an experiment: the names ("rollout.dtype") of what differs from how it was started.

    An engine for longer sequences also fits, and files that the system has never read do not matter.
    """
    longest, files = max(up["longest"], needed["longest"]), needed[FILES]
    return _differences({**up, FILES: files | up[FILES]}, {**needed, "longest": longest, FILES: up[FILES] | files})


def _differences(one: Any, other: Any, name: str = "") -> list[str]:
    if not isinstance(one, dict) or not isinstance(other, dict):
        return [] if one == other else [name]
    names = sorted(one.keys() | other.keys())
    return [found for key in names for found in _differences(one.get(key), other.get(key), f"{name}.{key}".lstrip("."))]


def _stamps(patterns: Sequence[Path]) -> dict[str, tuple[int, int]]:
    """Size and modification time of files: once they change, what processes have loaded is outdated."""
    found = [path for pattern in patterns for path in sorted(pattern.parent.resolve().glob(pattern.name))]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def renew(worker: Any, given: Mapping[str, Mapping[str, Any]], seed: str) -> None:
    """In a worker's process: rebuild the parts of verl's WorkerDict as its constructor would.

    Args:
        given: the constructor arguments of each part.
    """
    import torch
    from verl.utils.py_functional import temp_env_var

    os.environ["UFT_SEED"] = seed
    parts = worker.worker_dict
    classes = {name: type(part) for name, part in parts.items()}
    parts.clear()
    gc.collect()
    # As in a new process.
    torch.manual_seed(torch.initial_seed())
    with temp_env_var("DISABLE_WORKER_INIT", "1"):
        for name, kind in classes.items():
            parts[name] = kind(**given[name])


def limit(server: Any, lengths: Mapping[str, int]) -> None:
    """In the engine's server: set the limits of a rollout; the engine itself may allow more."""
    for name, value in lengths.items():
        setattr(server.config, name, value)


def lengths_of(config: Any) -> dict[str, int]:
    """The limits for `limit`."""
    rollout = config.actor_rollout_ref.rollout
    return {name: int(rollout[name]) for name in _LENGTHS if rollout[name] is not None}
