"""The configuration we lay over verl's on GPUs: devices, nodes, kernels and graphs."""

import os
from typing import Any

import pytest

from recipes.common.errors import ExperimentError
from recipes.estimate import kernels
from recipes.flags.resolve import build_experiment
from recipes.settings.profiles import PROFILES
from recipes.verl_plugin import config_sections
from recipes.verl_plugin.config_sections import graph_sizes
from tests import ROOT
from tests.helpers.verl_configs import reinforcement

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("verls_files_read_once")]


@pytest.mark.parametrize("n_gpu", range(1, 9))
def test_verl_accepts_any_number_of_devices(n_gpu: int) -> None:
    config = reinforcement(build_experiment({"n_gpu": n_gpu}, PROFILES["h100x8"]))
    assert config.trainer.n_gpus_per_node == n_gpu
    rows = config.actor_rollout_ref.actor.ppo_mini_batch_size * config.actor_rollout_ref.rollout.n
    assert rows % n_gpu == 0


def test_several_nodes_join_the_cluster_at_ray_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    config = reinforcement(build_experiment({"nnodes": 2}, PROFILES["h100x8"]))
    assert config.trainer.nnodes == 2
    assert config.ray_kwargs.ray_init.address == "10.0.0.1:6379"
    # Workers of a cluster that is there already get our hooks with the job.
    given = config.ray_kwargs.ray_init.runtime_env.env_vars
    assert given.VERL_USE_EXTERNAL_MODULES == "recipes.verl_plugin.external"
    assert str(ROOT) == given.PYTHONPATH.split(os.pathsep)[0]
    assert given.PYTHONSAFEPATH == "1"
    # An existing cluster takes neither sizes nor folders.
    assert config.ray_kwargs.ray_init.get("num_cpus") is None
    assert "_temp_dir" not in config.ray_kwargs.ray_init


@pytest.mark.parametrize(
    "profile", [profile for profile in PROFILES.values() if profile.device == "cuda"], ids=lambda profile: profile.name
)
def test_a_gpu_gets_what_saves_memory_and_time(profile: Any) -> None:
    config = reinforcement(build_experiment({"model": "Qwen/Qwen2.5-1.5B"}, profile)).actor_rollout_ref
    assert config.model.enable_gradient_checkpointing
    assert config.model.use_fused_kernels
    assert config.actor.use_dynamic_bsz
    assert config.actor.fsdp_config.model_dtype == "fp32"
    assert config.ref.fsdp_config.model_dtype == "bfloat16"
    rollout = config.rollout
    assert rollout.dtype == "bfloat16"
    assert not rollout.enforce_eager
    assert rollout.enable_prefix_caching
    assert rollout.free_cache_engine
    assert rollout.get("enable_sleep_mode", True)
    assert rollout.load_format == ("safetensors" if profile.lora_rank else "dummy")


@pytest.mark.parametrize("flash", [True, False])
def test_flash_attention_is_used_where_it_is_installed(flash: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "flash_attention_installed", lambda: flash)
    config = reinforcement(build_experiment({"model": "Qwen/Qwen2.5-1.5B"}, PROFILES["h100x2"])).actor_rollout_ref
    model = config.model
    # Either way without padding: packed by positions, or under a mask that takes fewer tokens.
    assert model.use_remove_padding
    assert config.actor.ppo_max_token_len_per_gpu == (32768 if flash else 8192)
    assert model.override_config.attn_implementation == ("flash_attention_2" if flash else "sdpa")


@pytest.mark.parametrize("works", ["flash_attn.bert_padding", "", None])
def test_a_flash_attention_that_does_not_work_is_named_before_the_model_loads(
    works: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers.utils

    from recipes.verl_plugin import compose

    def load(name: str) -> None:
        if name != works:
            raise ImportError("undefined symbol: _ZN3c10")

    monkeypatch.setattr(transformers.utils, "is_flash_attn_2_available", lambda: works is not None)
    monkeypatch.setattr(compose.importlib, "import_module", load)
    if works:
        compose.refuse_broken_flash_attention()
        return
    why = "transformers does not accept it" if works is None else "undefined symbol"
    with pytest.raises(ExperimentError, match=f"{why}.*pip uninstall flash-attn"):
        compose.refuse_broken_flash_attention()


@pytest.mark.parametrize(("sequences", "count"), [(1024, 36), (256, 20), (100, 11), (1, 1)])
def test_graphs_are_captured_for_as_many_sequences_as_are_decoded(sequences: int, count: int) -> None:
    found = graph_sizes(sequences)
    assert found == sorted(set(found))
    assert (found[0], found[-1], len(found)) == (1, sequences, count)
    # vLLM's own list, which ends at 512, has 51.
    assert len(found) < 51


def test_verl_hands_the_sizes_of_graphs_to_vllm() -> None:
    import inspect

    from verl.workers.rollout.vllm_rollout.vllm_async_server import vLLMHttpServer

    # Of prompts x 4 rollouts an engine never has more in a step, and makes room for no more.
    cases = (
        (512, 256, 512, 512, 8192),
        (1024, 256, 1024, 1024, 8192),
        (100_000, 64, 1024, 1024, 8192),
        (100_000, 4096, 16384, 1024, 16384),
    )
    for sequences, prompts, *expected in cases:
        flags = {"model": "Qwen/Qwen2.5-1.5B", "max_num_seqs": sequences, "batch_size": prompts}
        rollout = reinforcement(build_experiment(flags, PROFILES["1x80gb"])).actor_rollout_ref.rollout
        found = [rollout.max_num_seqs, rollout.cudagraph_capture_sizes[-1], rollout.max_num_batched_tokens]
        assert found == expected
    assert 'compilation_config["cudagraph_capture_sizes"]' in inspect.getsource(vLLMHttpServer.launch_server)


@pytest.mark.parametrize(("cores", "n_gpu", "cpus", "workers"), [(4, 1, 7, 4), (28, 8, 28, 8), (128, 8, 128, 8)])
def test_ray_counts_the_processors_that_verl_asks_for(
    cores: int, n_gpu: int, cpus: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_sections, "cores", lambda: cores)
    config = reinforcement(build_experiment({"n_gpu": n_gpu}, PROFILES["h100x8"]))
    assert config.ray_kwargs.ray_init.num_cpus == cpus
    assert config.actor_rollout_ref.rollout.agent.num_workers == config.reward.num_workers == workers


def test_every_node_has_its_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    """verl advises two units on each node."""
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    config = reinforcement(build_experiment({"nnodes": 3}, PROFILES["h100x8"]))
    assert config.transfer_queue.backend.SimpleStorage.num_data_storage_units == 6
