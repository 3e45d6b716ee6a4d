"""Settings of verl that ranks cannot share, or that change what is learned, are refused before the start."""

from contextlib import nullcontext

import pytest

from recipes.common.errors import ExperimentError
from recipes.estimate import kernels
from recipes.flags.resolve import build_experiment
from recipes.settings.profiles import PROFILES
from recipes.verl_plugin.compose import split_overrides
from recipes.verl_plugin.verl_config import rl_config
from tests.helpers.verl_configs import FILES, RUN

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("verls_files_read_once")]


SEVEN_B = "Qwen/Qwen2.5-7B"
ULYSSES = "actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size"


@pytest.mark.parametrize(("tp_size", "sequence"), [(1, 1), (2, 1), (4, 1), (1, 2), (2, 4)])
def test_a_7b_model_may_be_shared_by_engines_and_sequences_by_ranks(
    tp_size: int, sequence: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checked by configuration: verl's own validation."""
    from recipes.verl_plugin.compose import compose_config
    from recipes.verl_plugin.main import checked_config

    monkeypatch.setattr(kernels, "flash_attention_installed", lambda: True)
    ulysses = f"{ULYSSES}={sequence}"
    e = build_experiment({"model": SEVEN_B, "tp_size": tp_size, "overrides": (ulysses,)}, PROFILES["h100x8"])
    assert split_overrides(e) == {"ppo_trainer": (ulysses,)}
    values = rl_config(e, run=RUN, model=e.model, resume_from=None, **FILES)
    config = checked_config(compose_config("ppo_trainer", values, [ulysses])).actor_rollout_ref
    assert (config.rollout.tensor_model_parallel_size, config.rollout.load_format) == (tp_size, "dummy")
    assert config.model.use_remove_padding


@pytest.mark.parametrize(
    ("model", "n_gpu", "size", "engine", "trainer"),
    [
        (SEVEN_B, 8, 8, "28 attention heads", "28 attention heads"),
        (SEVEN_B, 7, 7, "4 heads of keys and values", "4 heads of keys and values"),
        ("Qwen/Qwen2.5-1.5B", 3, 3, "2 heads of keys and values", "2 heads of keys and values"),
        ("Qwen/Qwen2.5-0.5B", 14, 14, "4,864 columns of an MLP", None),
        (SEVEN_B, 8, 3, "--tp_size 3 does not divide the 8 devices", "3 does not divide the 8 devices"),
        (SEVEN_B, 8, 4, None, None),
    ],
)
def test_what_ranks_cannot_share_is_refused(
    model: str, n_gpu: int, size: int, engine: str | None, trainer: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM and verl would say so after the model was loaded."""
    monkeypatch.setattr(kernels, "flash_attention_installed", lambda: True)
    given = (f"{ULYSSES}={size}",)
    with pytest.raises(ExperimentError, match=engine) if engine else nullcontext():
        build_experiment({"model": model, "n_gpu": n_gpu, "tp_size": size}, PROFILES["h100x8"])
    with pytest.raises(ExperimentError, match=trainer) if trainer else nullcontext():
        split_overrides(build_experiment({"model": model, "n_gpu": n_gpu, "overrides": given}, PROFILES["h100x8"]))


@pytest.mark.parametrize("size", ["null", "1.5"])
def test_a_number_of_ranks_is_whole(size: str) -> None:
    given = (f"{ULYSSES}={size}",)
    with pytest.raises(ExperimentError, match="is not an integer number of ranks"):
        split_overrides(build_experiment({"model": SEVEN_B, "overrides": given}, PROFILES["h100x8"]))


def test_the_nearest_size_that_ranks_can_share_is_named() -> None:
    with pytest.raises(
        ExperimentError,
        match=r"28 attention heads of Qwen.* cannot be split evenly over that many ranks. Nearest: --tp_size 4",
    ):
        build_experiment({"model": SEVEN_B, "tp_size": 8}, PROFILES["h100x8"])


@pytest.mark.parametrize(
    ("algo", "key"),
    [
        ("uft", "actor_rollout_ref.actor.fsdp_config"),
        ("uft", "actor_rollout_ref.actor"),
        ("uft", "actor_rollout_ref.ref.fsdp_config"),
        ("ppo", "critic"),
        ("ppo", "critic.fsdp"),
        ("sft", "engine"),
    ],
)
def test_ulysses_without_flash_attention_is_refused(algo: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """verl patches flash-attention alone: with another one, each rank would attend to its part of a sequence only."""
    monkeypatch.setattr(kernels, "flash_attention_installed", lambda: False)
    given = (f"{key}.ulysses_sequence_parallel_size=2",)
    e = build_experiment({"algo": algo, "model": SEVEN_B, "overrides": given}, PROFILES["h100x8"])
    with pytest.raises(ExperimentError, match=r"attend only to its own part.*--flash-attn"):
        split_overrides(e)


@pytest.mark.parametrize("mode", ["colocate_async", "separate_async"])
def test_verls_asynchronous_trainers_are_refused_with_the_reason(mode: str) -> None:
    given = (f"trainer.v1.trainer_mode={mode}",)
    e = build_experiment({"overrides": given}, PROFILES["cpu"])
    with pytest.raises(ExperimentError, match=rf"{mode} starts rollouts of later steps.*hints would be redrawn"):
        split_overrides(e)
