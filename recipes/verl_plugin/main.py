"""Entry point of an RL stage: `python -m recipes.verl_plugin.main FOLDER [OVERRIDES]`, with verl's run_ppo.

Started by recipes/run/launch.py, which writes FOLDER/verl.yaml.
"""

import faulthandler
import signal
import sys
from typing import Any

import ray
from omegaconf import DictConfig, OmegaConf
from verl.trainer.main_ppo import run_ppo
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config
from verl.utils.device import auto_set_device
from verl.utils.logging_utils import configure_verl_logging

from recipes.verl_plugin.compat import check_verl_version
from recipes.verl_plugin.compose import arguments, load_config
from recipes.verl_plugin.module_path import ours_first
from recipes.verl_plugin.verl_config import REINFORCEMENT


@ray.remote
class UnifiedTaskRunner:
    """Like verl's TaskRunnerV1 (a Ray actor class, which cannot be subclassed), with our trainer and manager."""

    def run(self, config: DictConfig) -> None:
        """Build the trainer and train. Raises whatever the training raises."""
        import transfer_queue as tq

        from recipes.verl_plugin.trainer import UnifiedTrainer

        # The training loop runs in this process: the supervisor requests its stack if it hangs.
        faulthandler.register(signal.SIGUSR1, file=sys.stderr)
        configure_verl_logging()
        config.transfer_queue.enable = True
        OmegaConf.resolve(config)
        tq.init(config.transfer_queue)
        try:
            train(UnifiedTrainer(config=config))
        finally:
            tq.close()


def train(trainer: Any) -> None:
    """Run a new trainer to its end. Raises whatever the training raises."""
    from recipes.algorithms import get_algorithm
    from recipes.checks.algorithm_check import told
    from recipes.checks.trial import try_hooks
    from recipes.verl_plugin.agent_loop import HintedAgentLoopManager, hook_settings
    from recipes.verl_plugin.rollout_worker import client_class

    exit_code = 1
    try:
        uft, reference = trainer.config.uft, need_reference_policy(trainer.config)
        if uft.algorithm.endswith(".py"):
            with told(uft.algorithm):
                try_hooks(get_algorithm(uft.algorithm), hook_settings(uft), reference=reference)
        trainer.init()
        engines = trainer.llm_server_manager
        manager = HintedAgentLoopManager.create(
            config=trainer.config,
            llm_client=engines.get_client(client_cls=client_class(len(engines.get_replicas()))),
            teacher_client=trainer.get_teacher_client(),
            reward_loop_worker_handles=trainer.get_reward_handles(),
        )
        manager.memory = trainer.memory
        trainer.fit(manager)
        exit_code = 0
    finally:
        tracking = getattr(trainer, "logger", None)
        if tracking is not None:
            tracking.finish(exit_code=exit_code)


def checked_config(config: DictConfig) -> DictConfig:
    """The configuration after verl's own validation. Raises whatever that raises."""
    auto_set_device(config)
    validate_config(config=config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config))
    return config


def main() -> None:
    """Run one RL stage to its end."""
    check_verl_version()
    folder, overrides = arguments()
    config = checked_config(load_config(REINFORCEMENT, folder, overrides))
    # By module name, so that the actor is pickled by reference and not as part of __main__.
    from recipes.verl_plugin.main import UnifiedTaskRunner as task_runner_class

    ours_first()
    run_ppo(config, task_runner_class=task_runner_class)


if __name__ == "__main__":
    main()
