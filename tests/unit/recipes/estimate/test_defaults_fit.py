"""What the profiles set by default fits their devices."""

import pytest

from recipes.estimate.describe import describe_memory
from recipes.estimate.memory import estimate_memory
from recipes.estimate.model_shapes import known_shape
from recipes.settings.profiles import profile_named
from tests.helpers.estimates import PAIRS, on


@pytest.mark.usefixtures("with_and_without_flash_attention")
@pytest.mark.parametrize(
    ("profile", "model"),
    [
        *((profile, f"Qwen/Qwen2.5-{size}B") for profile in ("1x24gb", "1x80gb", "h100x2") for size in (0.5, 1.5)),
        ("h100x2", "meta-llama/Llama-3.2-1B"),
        ("h100x4", "Qwen/Qwen2.5-3B"),
        ("h100x4", "meta-llama/Llama-3.2-3B"),
        ("h100x8", "Qwen/Qwen2.5-7B"),
    ],
)
@pytest.mark.parametrize("data", ["countdown", "math"])
def test_a_profile_fits_the_models_it_is_for(profile: str, model: str, data: str) -> None:
    e = on(profile, model=model, data=data)
    shape = known_shape(model)
    assert shape is not None
    found = estimate_memory(e, shape)
    assert found.peak < 0.95 * found.limit, describe_memory(e)
    # The engine has room for at least 64 full sequences.
    assert found.kv_tokens > 64 * (e.max_prompt_length + e.response_length)


@pytest.mark.usefixtures("with_and_without_flash_attention")
@pytest.mark.parametrize("profile", ["cpu", "1x24gb", "2x24gb", "4x24gb", "8x24gb", "1x40gb", "1x80gb", "h100x8"])
@pytest.mark.parametrize("algo", ["sft", "dpo", "kto", "una", "una_sft"])
def test_trainings_on_answers_fit_a_profile_by_default(algo: str, profile: str) -> None:
    for n_gpu in (profile_named(profile).n_gpu, 3):
        e = on(profile, **{**PAIRS, "algo": algo}, n_gpu=n_gpu)
        assert "NOT" not in describe_memory(e)
        a = e.alignment
        assert a.batch_size % (a.micro_batch_size * n_gpu) == 0
        assert abs(a.batch_size - (32 if profile == "cpu" else 16)) < n_gpu


def test_rows_of_a_micro_batch_are_fewer_only_where_they_would_not_fit() -> None:
    large, small = on("1x80gb", **PAIRS), on("1x24gb", **PAIRS)
    assert (large.alignment.micro_batch_size, small.alignment.micro_batch_size) == (2, 1)
    assert large.alignment.batch_size == small.alignment.batch_size == 16
    assert on("1x24gb", **PAIRS, micro_batch_size=4).alignment.micro_batch_size == 4
    # All weights of a model that was named are trained, whether they fit or not.
    assert [on("4x24gb", **PAIRS, **flags).lora_rank for flags in ({}, {"lora_rank": 0})] == [32, 0]
    assert on("4x24gb", **PAIRS, model="Qwen/Qwen2.5-1.5B").lora_rank == 0


@pytest.mark.parametrize(
    "profile",
    [*(f"{n}x24gb" for n in (1, 2, 3, 4)), "1x40gb", "2x40gb", "1x48gb", "2x48gb", "1x80gb", "h100x8"],
)
def test_a_critic_fits_beside_the_policy(profile: str) -> None:
    assert "NOT" not in describe_memory(on(profile, algo="ppo"))


def test_an_engine_beside_a_critic_has_half_its_share_unless_given() -> None:
    assert "NOT" not in describe_memory(on("h100x8", algo="ppo", n_gpu=4))
    assert on("1x80gb", algo="ppo").rollout_memory == pytest.approx(0.5 * on("1x80gb").rollout_memory)
    assert on("1x80gb", algo="ppo", rollout_memory=0.5).rollout_memory == 0.5
