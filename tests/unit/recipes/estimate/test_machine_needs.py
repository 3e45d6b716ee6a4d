"""What a machine is too small for: few cores and small cards are noted, what no device can hold is refused."""

import pytest

from recipes.common.errors import ExperimentError
from recipes.estimate import machine_needs
from recipes.estimate.describe import describe_memory
from recipes.estimate.machine_needs import few_cores, held_bytes, refuse_too_large, small_cards
from recipes.estimate.memory import GB, estimate_memory
from recipes.estimate.model_shapes import SHAPES
from recipes.estimate.step_time import estimate_time
from tests.helpers.estimates import on


@pytest.mark.parametrize(
    ("cores", "gpus", "n_gpu", "said"),
    [(4, 1, 1, True), (7, 1, 1, False), (27, 8, 8, True), (28, 8, 8, False), (4, 0, 1, False)],
)
def test_a_machine_with_few_cores_is_told(
    cores: int, gpus: int, n_gpu: int, said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three for each GPU and four more; of a machine that a dry run is not made on, nothing is known."""
    monkeypatch.setattr(machine_needs, "cores", lambda: cores)
    monkeypatch.setattr(machine_needs, "gpu_count", lambda: gpus)
    found = few_cores(on("h100x8", n_gpu=n_gpu))
    assert (found is not None) is said
    assert found is None or found.startswith(f"{cores} cores for {n_gpu} GPU(s)")
    assert few_cores(on("cpu")) is None


@pytest.mark.parametrize(
    ("profile", "gpus", "memory_gb", "said"),
    [
        ("h100x8", 8, 42.9, "the smallest GPU here has 43 GB, and --profile h100x8 is for 80 GB"),
        ("1x24gb", 2, 12.9, "the smallest GPU here has 13 GB, and --profile 1x24gb is for 24 GB"),
        ("1x24gb", 1, 12.9, "the smallest GPU here has 13 GB, and --profile 1x24gb is for 24 GB"),
        ("1x48gb", 1, 47.8, None),
        ("1x24gb", 1, 25.8, None),
        ("1x24gb", 1, None, None),
        # Not the machine that this run is for.
        ("h100x8", 1, 12.9, None),
        ("cpu", 1, 12.9, None),
    ],
)
def test_cards_with_less_memory_than_the_profiles_are_told(
    profile: str, gpus: int, memory_gb: float | None, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_needs, "gpu_count", lambda: gpus)
    monkeypatch.setattr(machine_needs, "gpu_memory_gb", lambda: memory_gb)
    found = small_cards(on(profile))
    assert found is None if said is None else str(found).startswith(said)
    hide = "hide that card (CUDA_VISIBLE_DEVICES), or " if gpus > 1 else ""
    fix = f"even if the figures below say so; {hide}lower --tokens_per_micro_batch or --rollout_memory"
    assert found is None or found.endswith(fix)


def test_what_no_card_here_can_hold_is_refused_whatever_the_profile_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_needs, "gpu_count", lambda: 1)
    monkeypatch.setattr(machine_needs, "gpu_memory_gb", lambda: 4.3)
    with pytest.raises(ExperimentError, match=r"7 GB.*the smallest GPU here has 4 GB"):
        refuse_too_large(on("1x24gb"))
    # Of another machine nothing is known from here.
    refuse_too_large(on("h100x2"))


def test_what_is_held_at_the_least() -> None:
    n = SHAPES["Qwen2.5-7B"].parameters
    assert held_bytes(on("1x80gb", model="Qwen/Qwen2.5-7B")) == 16 * n
    assert held_bytes(on("h100x8", model="Qwen/Qwen2.5-7B")) == 2 * n
    # On the CPU the engine has weights of its own, which do not sleep.
    assert held_bytes(on("cpu", model="Qwen/Qwen2.5-7B")) == 20 * n
    assert held_bytes(on("cpu", model="Qwen/Qwen2.5-7B", algo="sft")) == 16 * n
    adapters = SHAPES["Qwen2.5-7B"].lora_parameters(32)
    assert held_bytes(on("1x80gb", model="Qwen/Qwen2.5-7B", lora_rank=32)) == 4 * n + 16 * adapters
    quantised = {"algo": "dpo", "data": "ultrafeedback", "load_in_4bit": True, "lora_rank": 32}
    assert held_bytes(on("1x24gb", model="Qwen/Qwen2.5-7B", **quantised)) == n / 2 + 16 * adapters


def test_a_model_that_cannot_fit_is_refused_with_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExperimentError, match=r"take 122 GB.*a device of --profile 1x80gb has 80 GB.*--lora_rank 32"):
        refuse_too_large(on("1x80gb", model="Qwen/Qwen2.5-7B"))
    monkeypatch.setattr(machine_needs, "main_memory", lambda: 25e9)
    with pytest.raises(ExperimentError, match=r"take 31 GB.*this machine has 25 GB"):
        refuse_too_large(on("cpu", model="Qwen/Qwen2.5-1.5B"))
    for e in (
        on("cpu", model="Qwen/Qwen2.5-1.5B", lora_rank=32),
        on("cpu", model="Qwen/Qwen2.5-0.5B"),
        on("cpu"),
        on("1x80gb", model="Qwen/Qwen2.5-7B", lora_rank=32),
        on("h100x8", model="Qwen/Qwen2.5-7B"),
        on("1x80gb", model="owner/unknown"),
    ):
        refuse_too_large(e)


def test_an_engine_without_room_for_a_token_is_refused_and_with_little_told() -> None:
    """vLLM ends a minute after the start where its part of a device holds nothing beside the weights."""
    with pytest.raises(ExperimentError, match=r"--rollout_memory 0.45: the engine's share .* no token.*--tp_size"):
        refuse_too_large(on("4x24gb", model="Qwen/Qwen2.5-7B", lora_rank=32))
    refuse_too_large(on("4x24gb", model="Qwen/Qwen2.5-7B", lora_rank=32, tp_size=4))
    with pytest.raises(ExperimentError, match=r"holds the weights of .* and 438 tokens, and a sequence may have 1,536"):
        refuse_too_large(on("1x80gb", rollout_memory=0.0575))
    little = on("1x80gb", rollout_memory=0.0577)
    refuse_too_large(little)
    tokens = estimate_memory(little, SHAPES["Qwen2.5-1.5B"]).kv_tokens
    assert 0 < tokens < little.prompt_length + little.response_length
    assert "does NOT fit: a sequence may have" in describe_memory(little)
    seconds = [
        estimate_time(on("1x80gb", rollout_memory=part), SHAPES["Qwen2.5-1.5B"]).generate for part in (0.05, 0.5)
    ]
    assert seconds[0] > 10 * seconds[1]


def test_a_critic_counts_in_what_is_refused_and_may_have_adapters() -> None:
    shape = SHAPES["Qwen2.5-1.5B"]
    n, adapters = shape.parameters, shape.lora_parameters(32)
    assert estimate_memory(on("1x24gb", algo="ppo"), shape).critic == 4 * (n + adapters) + 12 * adapters
    # 3 B: 49 GB are held by the policy, and as much by the critic.
    refuse_too_large(on("1x80gb", model="Qwen/Qwen2.5-3B"))
    with pytest.raises(ExperimentError, match=r"does not fit.* take 99 GB"):
        refuse_too_large(on("1x80gb", algo="ppo", model="Qwen/Qwen2.5-3B"))


def test_a_supervised_stage_has_the_first_nodes_devices_alone() -> None:
    """Four nodes of two: 7 B is 122 GB, in halves; its reinforcement has eighths."""
    e = on("h100x2", algo="sft_rft", nnodes=4, model="Qwen/Qwen2.5-7B")
    alone = on("h100x2", algo="sft", model="Qwen/Qwen2.5-7B")
    assert held_bytes(e) == held_bytes(alone)
    expected = estimate_memory(alone, SHAPES["Qwen2.5-7B"]).updating / GB
    assert f"supervised {expected:6.1f}  on the first node's 2 device(s) alone: " in describe_memory(e)
    with pytest.raises(ExperimentError, match=r"of the supervised stage, on the first.*122 GB.*has 80 GB.*--n_gpu"):
        refuse_too_large(on("1x80gb", algo="sft_rft", nnodes=8, model="Qwen/Qwen2.5-7B"))
    assert "supervised" not in describe_memory(on("h100x2", algo="sft_rft"))
