"""The configuration we lay over verl's: valid for every profile and algorithm; typos are errors with a suggestion."""

from pathlib import Path

import pytest

from recipes.algorithms import algorithms
from recipes.experiment import ExperimentError
from recipes.profiles import PROFILES
from recipes.resolve import build_experiment
from recipes.run_dir import RunDir
from recipes.verl_plugin.verl_config import rl_config, sft_config

pytestmark = pytest.mark.contract

RUN = RunDir(Path("out/x"))
FILES = {"train_file": Path("train.parquet"), "test_file": Path("test.parquet")}
RL = [name for name, algorithm in algorithms().items() if "rl" in algorithm.stages]
SFT = [name for name, algorithm in algorithms().items() if "sft" in algorithm.stages]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("algo", RL)
def test_verl_accepts_the_reinforcement_configuration(algo: str, profile: str) -> None:
    from recipes.verl_plugin.compose import compose_config
    from recipes.verl_plugin.main import checked_config

    experiment = build_experiment({"algo": algo, "model": "Qwen/Qwen2.5-0.5B"}, PROFILES[profile])
    values = rl_config(experiment, run=RUN, model=experiment.model, resume_from=None, **FILES)
    config = checked_config(compose_config("ppo_trainer", values, []))
    assert config.algorithm.adv_estimator == "uft"
    assert config.actor_rollout_ref.ref.strategy == "fsdp2"
    assert config.actor_rollout_ref.rollout.response_length == experiment.response_length
    assert config.actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu == experiment.tokens_per_micro_batch
    assert config.uft.algorithm == ("rft" if algo == "sft_rft" else algo)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("algo", SFT)
def test_verl_builds_its_dataclasses_from_the_supervised_configuration(algo: str, profile: str) -> None:
    from verl.utils.config import omega_conf_to_dataclass

    from recipes.verl_plugin.compose import compose_config

    experiment = build_experiment({"algo": algo, "model": "Qwen/Qwen2.5-0.5B"}, PROFILES[profile])
    values = sft_config(experiment, run=RUN, model=experiment.model, resume_from=None, **FILES)
    config = compose_config("sft_trainer_engine", values, [])
    assert omega_conf_to_dataclass(config.engine).strategy == "fsdp2"
    assert omega_conf_to_dataclass(config.optim).lr == experiment.sft_lr


def test_overrides_come_last_and_typos_are_refused() -> None:
    from recipes.verl_plugin.compose import compose_config

    values = {"trainer": {"test_freq": 7}}
    assert compose_config("ppo_trainer", values, ["trainer.test_freq=9"]).trainer.test_freq == 9
    assert compose_config("ppo_trainer", values, ["+trainer.extra=[1,2]"]).trainer.extra == [1, 2]
    with pytest.raises(ExperimentError, match=r"did you mean 'trainer.test_freq'"):
        compose_config("ppo_trainer", values, ["trainer.test_frek=9"])
    with pytest.raises(ExperimentError, match="key=value"):
        compose_config("ppo_trainer", values, ["trainer.test_freq"])
