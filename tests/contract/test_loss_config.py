"""What runs tell verl's losses, by hand-computed numbers of verl's own loss."""

import json
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from recipes.algorithms import algorithms
from recipes.algorithms.base import Bare, Group, grpo
from recipes.algorithms.losses.terms import streams
from recipes.common.errors import ExperimentError
from recipes.flags.resolve import build_experiment
from recipes.run.stages import stage_overrides
from recipes.settings.hook_settings import hook_settings
from recipes.settings.profiles import PROFILES
from recipes.verl_plugin.loss_config import NO_DUAL_CLIP, actor_loss_config, algorithm_config
from recipes.verl_plugin.verl_config import REINFORCEMENT
from tests.helpers.verl_configs import reinforcement

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


def test_a_higher_upper_clip_moves_the_upper_end_alone() -> None:
    """eps .2 below; above, .28 in the place of .2: a ratio of 1.25 lies between both, 1.5 and .7 beyond."""
    assert policy_loss(1.0, 1.25) == policy_loss(1.0, 1.25, clip_ratio_high=0.2) == pytest.approx(-1.2)
    assert policy_loss(1.0, 1.25, clip_ratio_high=0.28) == pytest.approx(-1.25)
    assert policy_loss(1.0, 1.5, clip_ratio_high=0.28) == pytest.approx(-1.28)
    for flags in ({}, {"clip_ratio_high": 0.28}):
        assert policy_loss(-1.0, 0.7, **flags) == pytest.approx(0.8)
        assert policy_loss(-1.0, 1.5, **flags) == pytest.approx(1.5)


def test_no_ratio_that_verl_computes_reaches_the_bound() -> None:
    assert math.exp(20.0) < NO_DUAL_CLIP
    assert policy_loss(-1.0, math.exp(40.0)) == pytest.approx(math.exp(20.0), rel=1e-6)


# --- what the parts of the loss are divided by ----------------------------------------------------------------------


def nested(*rows: list[float]) -> torch.Tensor:
    return torch.nested.as_nested_tensor([torch.tensor(row) for row in rows], layout=torch.jagged)


def uft_loss(agg: str) -> tuple[float, float]:
    """(loss, actor/hint_nll) of two rows: a hint token and two generated ones, and three generated ones.

    Every generated token has p = 1/e, before as now, and 2/e under the reference; the hint token has p = e^-2.
    The advantages are 1 and -.5, beta = c = .001.
    """
    from tensordict import TensorDict
    from verl.utils import tensordict_utils as tu
    from verl.utils.config import omega_conf_to_dataclass

    from recipes.verl_plugin.actor_loss import TERMS, actor_loss, term_column

    e = build_experiment({"algo": "uft", "hint_nll_agg": agg, "entropy_coef": 0.0}, PROFILES["cpu"])
    actor: Any = omega_conf_to_dataclass(reinforcement(e).actor_rollout_ref.actor)
    given = torch.tensor([[1, 0, 0], [0, 0, 0]]).bool()
    gen = torch.tensor([[0, 1, 1], [1, 1, 1]]).bool()
    group = Group(
        scores=torch.zeros(2),
        ok=torch.ones(2).bool(),
        plans=(Bare(), Bare()),
        given=given,
        gen=gen,
        demo=given & False,
        old=torch.zeros(2, 3),
        key="q",
        step=1,
    )
    (stream,) = streams([group], [grpo(group, SimpleNamespace(**hook_settings(e)))], updates=1, votes=2.0, length=9)
    weights = stream.rows[0].tolist()
    near = -1 + math.log(2)
    columns = {
        "prompts": nested([1], [1]),
        "responses": nested([1, 1, 1], [1, 1, 1]),
        "response_mask": nested([0, 1, 1], [1, 1, 1]),
        "old_log_probs": nested([0.0, -1.0, -1.0], [-1.0] * 3),
        "advantages": nested([0.0, 1.0, 1.0], [-0.5] * 3),
        "ref_log_prob": nested([0.0, near, near], [near] * 3),
        term_column(0): nested(*weights),
    }
    data = TensorDict(columns, batch_size=2)
    terms = json.dumps([[stream.name, stream.coef, ""]])
    tu.assign_non_tensor(data, **{TERMS: terms, "dp_size": 1, "batch_num_tokens": 5, "global_batch_size": 2})
    # A model gives log-probabilities of the next token, one for every token of prompt and response.
    log_probs = nested([-2.0, -1.0, -1.0, 0.0], [-1.0, -1.0, -1.0, 0.0])
    loss, metrics = actor_loss(actor, {"log_probs": log_probs}, data)
    return float(loss), float(metrics["hint_nll"].values[0])


K3 = 1 - math.log(2)
"""2 - log 2 - 1."""


@pytest.mark.parametrize(
    ("agg", "loss", "hint_nll"),
    [
        ("token-mean", (-2 * 1 + 3 * 0.5) / 5 + 0.001 * K3 + 0.001 * 2, 2.0),
        ("seq-mean-token-sum", (-2 * 1 + 3 * 0.5) / 5 + 0.001 * K3 + 0.001 * 2 / 2, 1.0),
        ("paper", (-2 * 1 + 3 * 0.5) / 2 + 0.001 * 5 * K3 / 2 + 0.001 * 2 / 2, 1.0),
    ],
)
def test_what_the_parts_of_ufts_loss_are_divided_by(agg: str, loss: float, hint_nll: float) -> None:
    assert uft_loss(agg) == (pytest.approx(loss, abs=1e-7), pytest.approx(hint_nll))


def test_an_algorithm_without_the_hints_likelihood_is_not_summed() -> None:
    """In a sweep the flag is given to all of its algorithms."""
    for algo in ("rft", "luffy"):
        plain, asked = (
            build_experiment({"algo": algo, "hint_nll_agg": agg}, PROFILES["cpu"]) for agg in ("token-mean", "paper")
        )
        assert actor_loss_config(plain) == actor_loss_config(asked)


# --- rollout correction ----------------------------------------------------------------------------------------------


def correction(**flags: Any) -> Any:
    return reinforcement(build_experiment({"algo": "uft", **flags}, PROFILES["cpu"])).algorithm.rollout_correction


def test_the_correction_is_off_unless_asked() -> None:
    assert correction().rollout_is is None
    found = correction(rollout_correction="sequence", rollout_correction_clip=3.0)
    assert (found.rollout_is, found.rollout_is_threshold, found.bypass_mode) == ("sequence", 3.0, False)
    una = build_experiment({"algo": "una_online", "rollout_correction": "token"}, PROFILES["cpu"])
    assert "rollout_correction" not in algorithm_config(una)


@pytest.mark.parametrize(
    ("kind", "expected"), [("token", [[0, 2, 0.5], [1, 1, 0]]), ("sequence", [[0, 1.5, 1.5], [1, 1, 0]])]
)
def test_verls_weights_by_hand(kind: str, expected: list[list[float]]) -> None:
    """Ratios of 3 and .5 after a given token, clipped at 2: 2 and .5, or 1.5 for the row; and 1 on a row that agrees.
    What was not generated has 0, however its placeholder compares."""
    from verl.trainer.ppo.rollout_corr_helper import compute_rollout_correction_and_rejection_mask

    config = correction(rollout_correction=kind)
    proto, mask, metrics = compute_rollout_correction_and_rejection_mask(
        old_log_prob=torch.tensor([[-7.0, math.log(0.3), math.log(0.1)], [-1.0, -1.0, 0.0]]),
        rollout_log_prob=torch.tensor([[0.0, math.log(0.1), math.log(0.2)], [-1.0, -1.0, 0.0]]),
        response_mask=torch.tensor([[0, 1, 1], [1, 1, 0]]),
        rollout_is=config.rollout_is,
        rollout_is_threshold=config.rollout_is_threshold,
    )
    assert proto.batch["rollout_is_weights"].tolist() == [pytest.approx(row, abs=1e-6) for row in expected]
    assert mask.tolist() == [[0, 1, 1], [1, 1, 0]]
    assert "rollout_corr/kl" in metrics


@pytest.mark.parametrize(("algo", "refused"), [("uft", True), ("luffy", True), ("rft", False), ("questa", False)])
def test_the_engines_log_probabilities_do_not_stand_for_those_of_given_tokens(algo: str, refused: bool) -> None:
    bypass = "algorithm.rollout_correction.bypass_mode=true"
    e = build_experiment({"algo": algo, "overrides": (bypass,)}, PROFILES["cpu"])
    if not refused:
        assert stage_overrides(e) == {REINFORCEMENT: (bypass,)}
        return
    with pytest.raises(ExperimentError, match=f"--algo {algo} contain hint tokens") as found:
        stage_overrides(e)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("algo", PPO)
def test_no_algorithm_has_a_dual_clip_unless_asked(algo: str) -> None:
    plain = build_experiment({"algo": algo}, PROFILES["cpu"])
    assert actor_loss_config(plain)["clip_ratio_c"] == NO_DUAL_CLIP
    asked = build_experiment({"algo": algo, "dual_clip": 3.0}, PROFILES["cpu"])
    assert actor_loss_config(asked)["clip_ratio_c"] == 3.0
