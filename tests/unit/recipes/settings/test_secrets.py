"""What people paste by mistake is refused before it is written down, and what only looks alike is not."""

from pathlib import Path

import pytest

from recipes.common.errors import ExperimentError
from tests.helpers.front_checks import experiment, small_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("data") / "countdown")


@pytest.mark.parametrize(
    "override",
    [
        "+trainer.note=hf_" + "aB3" * 10,
        "+trainer.note=sk-proj-" + "x1_" * 10,
        "trainer.wandb_proxy=http://me:geheim@proxy:8080",
        "+reward.judge.api_key=anything",
        "+trainer.hf_token='short'",
        "++x.password=geheim",
        "+trainer.passwd=geheim",
        "+trainer.credential=geheim",
        "+trainer.wandb_key=" + "0a" * 20,
        "+trainer.a={api_key: geheim}",
        "+trainer.headers={'x': 1, 'Authorization': 'Bearer geheim'}",
    ],
)
def test_a_secret_among_the_overrides_is_refused_and_not_repeated(override: str, folder: Path) -> None:
    name, _, value = override.partition("=")
    with pytest.raises(ExperimentError, match="looks like a token or password") as refused:
        experiment(folder, overrides=(override,))
    assert name in str(refused.value)
    assert value not in str(refused.value)


def test_a_secret_in_another_setting_is_refused(folder: Path) -> None:
    with pytest.raises(ExperimentError, match="--model: looks like"):
        experiment(folder, model="https://me:geheim@hub.example/model")


@pytest.mark.parametrize(
    "override",
    [
        "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=4096",
        "actor_rollout_ref.rollout.max_num_batched_tokens=8192",
        "+x.password=null",
        "+x.a={password: null, key: geheim}",
        "trainer.wandb_proxy=http://proxy:8080",
        "trainer.project_name=task-of-mine",
    ],
)
def test_what_only_looks_alike_is_taken(override: str, folder: Path) -> None:
    assert experiment(folder, overrides=(override,)).overrides == (override,)
