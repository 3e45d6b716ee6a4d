"""Which runs one start serves, and the parts of verl that recipes/verl_plugin/served.py holds on to."""

import inspect
import shutil
from pathlib import Path
from typing import Any

import pytest

from recipes.common.run_dir import RunDir
from recipes.flags.resolve import build_experiment
from recipes.settings.profiles import PROFILES
from recipes.verl_plugin.compose import compose_config
from recipes.verl_plugin.environment import environment
from recipes.verl_plugin.renewal import in_the_way, started_from
from recipes.verl_plugin.verl_config import REINFORCEMENT, rl_config
from tests import ROOT

pytestmark = pytest.mark.contract

EMBEDDED = ROOT / "models/tiny-countdown"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EMBEDDED, tmp_path / "model"))


def start_of(model: Path, *overrides: str, out: str = "out/x", env: dict[str, str] | None = None, **flags: Any) -> Any:
    """What a run with these flags has to be started from."""
    experiment = build_experiment({"algo": "rft", "data": "countdown", **flags}, PROFILES["cpu"])
    run = RunDir(Path(out))
    files = {"train_file": Path(f"{out}/train.parquet"), "test_file": Path(f"{out}/test.parquet")}
    values = rl_config(experiment, run=run, model=str(model), resume_from=None, ray_folder=Path("/tmp/r"), **files)
    asked = {"folder": "/here", "environment": {**environment(experiment, run), **(env or {})}}
    return started_from(compose_config(REINFORCEMENT, values, list(overrides)), asked)


def test_runs_that_differ_in_what_is_made_new_for_each_share_a_start(model: Path) -> None:
    up = start_of(model, algo="uft")
    sizes = {"batch_size": 8, "n_rollout": 2, "val_size": 8, "mini_batch_size": 4, "test_freq": 3}
    updates = {"lr": 3e-5, "clip_ratio": 0.1, "kl_coef": 0.01, "entropy_coef": 0.0, "temperature": 0.7}
    for flags in ({}, {"algo": "r3"}, {"seed": 7, "T": 3}, sizes, updates, {"max_response_length": 40}):
        assert in_the_way(up, start_of(model, out="out/y", **flags)) == [], flags
    # Each has a temporary folder of its own, and the system another one.
    assert in_the_way(up, start_of(model, env={"RAY_AUTH_TOKEN_PATH": "/tmp/uft-b/ray_token"})) == []
    assert (
        in_the_way(up, start_of(model, "actor_rollout_ref.actor.grad_clip=0.5", "trainer.val_before_train=false")) == []
    )


def test_whatever_engine_workers_or_rewards_were_started_from_takes_another_start(model: Path) -> None:
    up = start_of(model)
    for expected, other in {
        "longest": start_of(model, max_response_length=400),
        "reference": start_of(model, kl_coef=0.0),
        "rollout.max_num_seqs": start_of(model, max_num_seqs=3),
        "rollout.dtype": start_of(model, "actor_rollout_ref.rollout.dtype=bfloat16"),
        "rollout.top_p": start_of(model, "actor_rollout_ref.rollout.top_p=0.9"),
        "machine.n_gpus_per_node": start_of(model, n_gpu=2),
        "model.lora_rank": start_of(model, lora_rank=4),
        "critic": start_of(model, algo="ppo"),
        "environment.REWARD_SECONDS": start_of(model, env={"REWARD_SECONDS": "9"}),
        "reward.num_workers": start_of(model, "reward.num_workers=2"),
    }.items():
        assert expected in in_the_way(up, other), expected
    critic = start_of(model, algo="ppo")
    assert in_the_way(critic, start_of(model, algo="ppo", seed=9)) == []
    assert in_the_way(critic, start_of(model, algo="ppo", critic_lr=3e-5)) == ["critic"]
    (model / "model.safetensors").touch()
    assert in_the_way(up, start_of(model)) == [f"files.{model / 'model.safetensors'}"]


def test_code_of_the_users_own_that_has_changed_takes_another_start(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    shutil.copy(EMBEDDED.parents[1] / "examples/own_algorithm.py", file)
    up = start_of(model, algo=str(file))
    assert in_the_way(up, start_of(model, algo=str(file))) == []
    file.write_text(f"{file.read_text()}\n")
    assert in_the_way(up, start_of(model, algo=str(file))) == [f"files.{file}"]


def test_verl_still_starts_in_the_parts_that_a_served_trainer_repeats() -> None:
    from verl.single_controller.ray.base import create_colocated_worker_cls
    from verl.trainer.ppo.v1 import get_trainer_cls
    from verl.utils.dataset.rl_dataset import RLHFDataset

    source = inspect.getsource(get_trainer_cls("sync")._setup)
    parts = (
        "self._init_tokenizer()",
        "self._init_dataloader()",
        "self._init_dump_executor()",
        "self.resource_pool_to_cls = ",
        "self.critic_wg.reset()",
        "self.actor_rollout_wg.init_model()",
        "self.llm_server_manager",
        "self.checkpoint_manager.sleep_replicas()",
        "self._load_checkpoint()",
    )
    places = [source.index(part) for part in parts]
    assert places == sorted(places), "PPOTrainer._setup changed: fix recipes/verl_plugin/served.py"
    # Without a fork where the setting is null.
    assert "num_proc=self.num_workers" in inspect.getsource(RLHFDataset.maybe_filter_out_long_prompts)
    assert "self.worker_dict[key] = user_defined_cls(" in inspect.getsource(create_colocated_worker_cls)
