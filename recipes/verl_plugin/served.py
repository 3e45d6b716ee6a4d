"""A system that executes one run after another: `python -m recipes.verl_plugin.served FOLDER`, started by serve.py.

Ray, the data plane, the workers' processes and the engine stay up between runs. Everything that a run computes with is
new: trainer, data, rollout workers, and in the workers' processes models, optimisers and random state, built by the
same code as in a separate start. The engine receives the new weights, which clears its cache.
"""

import faulthandler
import gc
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ray
import transfer_queue as tq
from omegaconf import DictConfig, OmegaConf
from verl.trainer.main_ppo import run_ppo
from verl.utils.logging_utils import configure_verl_logging

from recipes.verl_plugin.compat import check_verl_version
from recipes.verl_plugin.compose import load_config
from recipes.verl_plugin.main import checked_config, train
from recipes.verl_plugin.module_path import ours_first
from recipes.verl_plugin.renewal import FILES, OF_A_RUN, in_the_way, lengths_of, limit, renew, started_from
from recipes.verl_plugin.serve import LONGEST_MESSAGE, MINE, OTHER
from recipes.verl_plugin.trainer import UnifiedTrainer
from recipes.verl_plugin.verl_config import REINFORCEMENT
from recipes.verl_plugin.warm_client import py_executable

_LOG_SECONDS = 0.5
"""Ray needs a moment to forward the workers' last output."""


class ServedTrainer(UnifiedTrainer):
    """A trainer that reuses the workers and engine of the system's first trainer."""

    def __init__(self, config: DictConfig, up: dict[str, Any]) -> None:
        """`up`: attributes of the first trainer after its start; filled by the first."""
        super().__init__(config=config)
        self._up = up

    def _setup(self) -> None:
        # datasets would fork this process: see `make_run`.
        self.config.data.filter_overlong_prompts_workers = None
        if not self._up:
            super()._setup()
            self._up.update(vars(self))
            return
        self._init_tokenizer()
        self._init_dataloader()
        self._init_dump_executor()
        self.__dict__.update({name: value for name, value in self._up.items() if name not in vars(self)})
        self.llm_server_manager.config = self.config
        servers = [server for replica in self.llm_server_manager.get_replicas() for server in replica.servers]
        ray.get([server.__ray_call__.remote(limit, lengths_of(self.config)) for server in servers])
        given = {role: made.kwargs for parts in self.resource_pool_to_cls.values() for role, made in parts.items()}
        for arguments in given.values():
            if "role" in arguments:
                arguments["config"] = self.config.actor_rollout_ref
        seed = os.environ["UFT_SEED"]
        ray.get([worker.__ray_call__.remote(renew, given, seed) for worker in self.actor_rollout_wg.workers])
        if self.use_critic:
            self.critic_wg.reset()
        self.actor_rollout_wg.init_model()
        self.checkpoint_manager.sleep_replicas()
        self._load_checkpoint()


class System:
    """The running processes, and what they were started from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started_from: dict[str, Any] | None = None
        self.up: dict[str, Any] = {}

    def config_of(self, asked: dict[str, Any]) -> DictConfig:
        """The configuration of a run, with this system's Ray."""
        run, *overrides = asked["arguments"]
        config = load_config(REINFORCEMENT, Path(run), overrides)
        ray_init = config.ray_kwargs.ray_init
        if "_temp_dir" in ray_init:
            ray_init._temp_dir = str(self.folder)
        if "py_executable" in ray_init.get("runtime_env", {}):
            ray_init.runtime_env.py_executable = py_executable()
        config = checked_config(config)
        config.transfer_queue.enable = True
        return config

    def make_run(self, config: DictConfig) -> None:
        """Train. Raises whatever training raises.

        Afterwards no object of the run that refers to Ray is left for the garbage collector: it might run in a fork of
        this process, which would then write to the parent's connections and make Ray hang forever.
        """
        if not ray.is_initialized():
            ours_first()
            # verl's initialisation of Ray without a task to run there: the training loop is in this process.
            nobody = SimpleNamespace(run=SimpleNamespace(remote=lambda _: ray.put(None)))
            run_ppo(config, task_runner_class=SimpleNamespace(remote=lambda: nobody))
            OmegaConf.resolve(config)
            tq.init(config.transfer_queue)
        OmegaConf.resolve(config)
        trainer = ServedTrainer(config, self.up)
        train(trainer)
        for worker in trainer.agent_loop_manager.agent_loop_workers:
            ray.kill(worker)
        del trainer, worker
        gc.collect()
        for partition, rows in (tq.kv_list() or {}).items():
            if rows:
                tq.kv_clear(keys=list(rows), partition_id=partition)


def main() -> None:
    """Accept runs from the server until it ends."""
    control = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    threading.Thread(target=_end_with, args=(control,), daemon=True).start()
    faulthandler.register(signal.SIGUSR1, file=sys.stderr)
    check_verl_version()
    configure_verl_logging()
    system = System(Path(sys.argv[1]))
    while True:
        message, files, _, _ = socket.recv_fds(control, LONGEST_MESSAGE, 2)
        if not message:
            return
        for number, file in zip((1, 2), files, strict=True):
            os.dup2(file, number)
            os.close(file)
        if (code := _execute(system, json.loads(message), control)) is not None:
            control.send(str(code).encode())


def _execute(system: System, asked: dict[str, Any], control: socket.socket) -> int | None:
    """The exit code of a run; None if it needs another system."""
    code = 1
    try:
        os.environ.update({name: asked["environment"][name] for name in OF_A_RUN & {"TENSORBOARD_DIR", "UFT_SEED"}})
        config = system.config_of(asked)
        needed = started_from(config, asked)
        read = system.started_from[FILES] if system.started_from else {}
        if system.started_from and (reasons := in_the_way(system.started_from, needed)):
            print(f"needs a new start: {', '.join(reasons)} differ from the previous run", flush=True)
            control.send(OTHER)
            return None
        system.started_from = {**needed, **(system.started_from or {}), FILES: needed[FILES] | read}
        control.send(MINE)
        system.make_run(config)
        code = 0
    except Exception:
        traceback.print_exc()
    time.sleep(_LOG_SECONDS)
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _end_with(control: socket.socket) -> None:
    """End this system when its server dies, even during a run."""
    hang_up = select.poll()
    hang_up.register(control, 0)
    hang_up.poll()
    os._exit(1)


if __name__ == "__main__":
    main()
