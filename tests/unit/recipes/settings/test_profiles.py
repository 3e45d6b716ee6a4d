"""Hardware profiles: which one a machine gets, and arithmetic that holds for every one of them."""

import pytest

from recipes.algorithms import algorithms
from recipes.common.errors import ExperimentError
from recipes.estimate import kernels
from recipes.estimate.memory import estimate_memory
from recipes.estimate.model_shapes import known_shape
from recipes.flags.resolve import build_experiment, default_profile
from recipes.settings.profiles import PROFILES, Profile, detect_profile, profile_named, share_evenly

CUDA = [profile for profile in PROFILES.values() if profile.device == "cuda"]
ON_PROBLEMS = [name for name, algorithm in algorithms().items() if algorithm.method is None]


@pytest.mark.parametrize(
    ("gpus", "memory_gb", "name"),
    [
        (0, None, "cpu"),
        (1, None, "1x80gb"),
        # What nvidia-smi says of an RTX 4090, an RTX 3090, an A100 40 GB, an H100 and an H200, in GB.
        (1, 25.76, "1x24gb"),
        (1, 25.77, "1x24gb"),
        (1, 42.9, "1x40gb"),
        (8, 42.9, "8x40gb"),
        (4, 25.8, "4x24gb"),
        # An L40S and an A6000.
        (2, 48.3, "2x48gb"),
        (2, 51.5, "2x48gb"),
        (1, 85.5, "1x80gb"),
        (1, 150.7, "1x80gb"),
        (1, 11.8, "1x24gb"),
        (2, 85.5, "h100x2"),
        (3, 85.5, "h100x2"),
        (4, 85.5, "h100x4"),
        (8, 85.5, "h100x8"),
        (16, 85.5, "h100x8"),
        (2, 25.8, "2x24gb"),
    ],
)
def test_a_machine_gets_the_profile_of_its_cards_and_uses_all_of_them(
    gpus: int, memory_gb: float | None, name: str
) -> None:
    found = detect_profile(gpus, memory_gb)
    assert found.name == name
    assert found.n_gpu == (gpus or 1)
    assert profile_named(name).memory_gb == found.memory_gb


@pytest.mark.parametrize(
    ("name", "n_gpu", "lora_rank"),
    [("1x40gb", 1, 32), ("1x48gb", 1, 32), ("2x24gb", 2, 32), ("4x24gb", 4, 0), ("2x40gb", 2, 0), ("8x40gb", 8, 0)],
)
@pytest.mark.parametrize("flash", [True, False])
def test_what_cards_share_fits_them(
    name: str, n_gpu: int, lora_rank: int, flash: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of any size and number: all weights from 80 GB in all on, adapters below."""
    monkeypatch.setattr(kernels, "flash_attention_installed", lambda: flash)
    for data in ("countdown", "math"):
        e = build_experiment({"data": data}, default_profile(0, name))
        assert (e.profile, e.n_gpu, e.lora_rank, e.lr) == (name, n_gpu, lora_rank, 1e-5 if lora_rank else 1e-6)
        shape = known_shape(e.model)
        assert shape is not None
        found = estimate_memory(e, shape)
        assert found.peak < 0.95 * found.limit
        assert found.kv_tokens > 64 * (e.max_prompt_length + e.response_length)


@pytest.mark.parametrize("name", ["0x24gb", "8x16gb", "h100x3", "2x24"])
def test_other_names_are_unknown(name: str) -> None:
    with pytest.raises(ExperimentError, match=r"unknown.*4x24gb, 8x40gb"):
        default_profile(0, name)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_any_number_of_devices_shares_every_update(profile: Profile) -> None:
    """The UFT repository's arithmetic ends in a division by zero at eight devices."""
    for n_gpu in range(1, 33):
        for algo in ("uft", "sft_rft"):
            e = build_experiment({"algo": algo, "n_gpu": n_gpu}, profile)
            assert e.batch_size % e.mini_batch_size == 0
            assert e.mini_batch_size * e.n_rollout % n_gpu == 0
            assert e.batch_size % n_gpu == 0
            assert abs(e.batch_size - profile.batch_size) <= max(n_gpu, profile.batch_size // 5)


def test_powers_of_two_keep_the_papers_batch() -> None:
    for n_gpu in (1, 2, 4, 8, 16, 32, 64):
        e = build_experiment({"n_gpu": n_gpu}, PROFILES["h100x8"])
        assert (e.batch_size, e.mini_batch_size, e.n_rollout) == (256, 64, 4)


def test_nodes_count_as_devices() -> None:
    e = build_experiment({"nnodes": 3}, PROFILES["h100x8"])
    assert (e.batch_size, e.mini_batch_size) == (288, 72)


@pytest.mark.parametrize("n_rollout", [2, 4])
def test_one_device_holds_the_papers_setting_with_two_and_four_rollouts(n_rollout: int) -> None:
    e = build_experiment({"n_rollout": n_rollout}, PROFILES["1x80gb"])
    assert (e.batch_size * e.n_rollout, e.mini_batch_size * e.n_rollout) == (256 * n_rollout, 64 * n_rollout)


def test_given_sizes_are_never_changed() -> None:
    profile = PROFILES["h100x8"]
    assert share_evenly(profile, {"batch_size": 100, "mini_batch_size": 50}, 3) == (100, 50)
    with pytest.raises(ExperimentError, match="cannot be split evenly over"):
        build_experiment({"batch_size": 100, "mini_batch_size": 50, "n_gpu": 3}, profile)
    # A batch alone gets updates that divide it: 120 prompts on 3 devices as 2 x 60.
    assert share_evenly(profile, {"batch_size": 120}, 3) == (120, 60)
    assert share_evenly(profile, {"mini_batch_size": 48}, 3) == (240, 48)


@pytest.mark.parametrize("algo", ON_PROBLEMS)
@pytest.mark.parametrize("profile", CUDA, ids=[profile.name for profile in CUDA])
@pytest.mark.parametrize("data", ["countdown", "kk_logic", "chain", "math"])
def test_every_profile_has_room_for_its_longest_sequence(profile: Profile, algo: str, data: str) -> None:
    e = build_experiment({"algo": algo, "data": data}, profile)
    assert e.max_prompt_length + e.response_length <= e.tokens_per_micro_batch
    assert e.dtype == "bfloat16"
    assert e.n_gpu % e.tp_size == 0


def test_adapters_on_the_small_card() -> None:
    e = build_experiment({}, PROFILES["1x24gb"])
    assert (e.lora_rank, e.model) == (32, "Qwen/Qwen2.5-1.5B")
    assert e.lr == pytest.approx(10 * PROFILES["1x80gb"].lr)


@pytest.mark.parametrize("algo", ["uft", "sft", "ppo", "dpo"])
def test_a_published_model_learns_on_the_cpu_as_the_papers_say_and_a_tiny_one_as_the_embedded(algo: str) -> None:
    data = "countdown_preference" if algo == "dpo" else "countdown"

    def learns(model: str, profile: str) -> dict[str, object]:
        e = build_experiment({"algo": algo, "data": data, "model": model}, PROFILES[profile])
        lengths = (e.max_prompt_length, e.max_hint_length, e.max_response_length, e.alignment.max_length)
        steps = (e.T, e.T_hint, e.sft_epochs, e.alignment.epochs, e.test_freq)
        return {"lengths": lengths, "steps": steps, "rates": (e.lr, e.sft_lr, e.critic_lr, e.alignment.lr)}

    assert learns("Qwen/Qwen2.5-0.5B", "cpu") == learns("Qwen/Qwen2.5-0.5B", "1x80gb")
    assert learns("owner/unknown-135M", "cpu") == learns("owner/unknown-135M", "1x80gb")
    tiny, published = learns("models/tiny-countdown", "cpu"), learns("Qwen/Qwen2.5-0.5B", "cpu")
    assert all(tiny[name] != published[name] for name in tiny)


def test_sizes_stay_the_machines() -> None:
    e = build_experiment({"model": "Qwen/Qwen2.5-0.5B"}, PROFILES["cpu"])
    assert (e.batch_size, e.mini_batch_size, e.dtype, e.max_num_seqs) == (32, 32, "float32", 128)
    assert build_experiment({"model": "Qwen/Qwen2.5-0.5B", "lr": 1e-3, "T": 4}, PROFILES["cpu"]).lr == 1e-3
