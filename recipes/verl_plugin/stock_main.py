"""verl's own GRPO without any of our classes, as the benchmark's baseline.

    python -m recipes.verl_plugin.stock_main FOLDER
FOLDER/verl.yaml contains the result of `stock_values`; the trainer, agent loop and estimator are verl's.
"""

from typing import Any

from verl.trainer.main_ppo import TaskRunnerV1, run_ppo
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

from recipes.verl_plugin.compose import arguments, load_config
from recipes.verl_plugin.main import checked_config
from recipes.verl_plugin.verl_config import POLL_SECONDS, REINFORCEMENT


class QuickReplayBuffer(ReplayBuffer):
    """verl's buffer with our polling interval for finished rollouts (verl's documented hook `custom_sampler`)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.poll_interval = POLL_SECONDS


def main() -> None:
    """Train to the end."""
    folder, overrides = arguments()
    run_ppo(checked_config(load_config(REINFORCEMENT, folder, overrides)), task_runner_class=TaskRunnerV1)


if __name__ == "__main__":
    main()
