"""What runs tell verl's losses, by hand-computed numbers of verl's own loss."""

import math
from typing import Any

import pytest
import torch

from recipes.algorithms import algorithms
from recipes.profiles import PROFILES
from recipes.resolve import build_experiment
from recipes.verl_plugin.loss_config import NO_DUAL_CLIP, actor_loss_config
from tests.contract.test_verl_config import reinforcement

pytestmark = pytest.mark.contract

PPO = [name for name, each in algorithms().items() if "rl" in each.stages and each.loss is None]


def policy_loss(advantage: float, ratio: float, **flags: Any) -> float:
    """verl's loss of one token under a run's configuration."""
    from verl.trainer.ppo.core_algos import get_policy_loss_fn
    from verl.utils.config import omega_conf_to_dataclass

    config = reinforcement(build_experiment({"algo": "uft", **flags}, PROFILES["cpu"]))
    actor: Any = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
    loss, _ = get_policy_loss_fn("vanilla")(
        old_log_prob=torch.tensor([[-3.0]]),
        log_prob=torch.tensor([[-3.0 + math.log(ratio)]]),
        advantages=torch.tensor([[advantage]]),
        response_mask=torch.ones(1, 1),
        loss_agg_mode="token-mean",
        config=actor,
    )
    return float(loss)


def test_a_ratio_of_5_against_the_advantage_costs_5_and_3_with_a_dual_clip_of_3() -> None:
    assert policy_loss(-1.0, 5.0) == pytest.approx(5.0)
    assert policy_loss(-1.0, 5.0, dual_clip=3.0) == pytest.approx(3.0)
    assert policy_loss(-1.0, 2.0, dual_clip=3.0) == pytest.approx(2.0)
    assert policy_loss(1.0, 5.0) == policy_loss(1.0, 5.0, dual_clip=3.0) == pytest.approx(-1.2)


def test_no_ratio_that_verl_computes_reaches_the_bound() -> None:
    assert math.exp(20.0) < NO_DUAL_CLIP
    assert policy_loss(-1.0, math.exp(40.0)) == pytest.approx(math.exp(20.0), rel=1e-6)


@pytest.mark.parametrize("algo", PPO)
def test_no_algorithm_has_a_dual_clip_unless_asked(algo: str) -> None:
    plain = build_experiment({"algo": algo}, PROFILES["cpu"])
    assert actor_loss_config(plain)["clip_ratio_c"] == NO_DUAL_CLIP
    asked = build_experiment({"algo": algo, "dual_clip": 3.0}, PROFILES["cpu"])
    assert actor_loss_config(asked)["clip_ratio_c"] == 3.0
