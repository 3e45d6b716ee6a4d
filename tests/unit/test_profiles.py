"""Hardware profiles: which one a machine gets, and arithmetic that holds for every one of them."""

import pytest

from recipes.algorithms import algorithms
from recipes.common.errors import ExperimentError
from recipes.flags.resolve import build_experiment
from recipes.settings.profiles import PROFILES, Profile, detect_profile, share_evenly

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
        (1, 42.9, "1x24gb"),
        (1, 85.5, "1x80gb"),
        (1, 150.7, "1x80gb"),
        (1, 11.8, "1x24gb"),
        (2, 85.5, "h100x2"),
        (3, 85.5, "h100x2"),
        (4, 85.5, "h100x4"),
        (8, 85.5, "h100x8"),
        (16, 85.5, "h100x8"),
        (2, 25.8, "1x24gb"),
    ],
)
def test_a_machine_gets_the_largest_profile_that_fits(gpus: int, memory_gb: float | None, name: str) -> None:
    assert detect_profile(gpus, memory_gb).name == name


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
    with pytest.raises(ExperimentError, match="devices cannot share evenly"):
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
