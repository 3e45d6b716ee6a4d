"""The configuration we lay over verl's: valid for every profile, algorithm and task; typos get a suggestion."""

import os
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from recipes.algorithms import algorithms
from recipes.common.errors import ExperimentError
from recipes.common.run_dir import RunDir
from recipes.estimate import kernels
from recipes.flags.resolve import build_experiment
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import PROFILES
from recipes.settings.tasks import TASKS
from recipes.verl_plugin import verl_config
from recipes.verl_plugin.compose import split_overrides
from recipes.verl_plugin.verl_config import graph_sizes, rl_config, sft_config
from tests import ROOT

pytestmark = pytest.mark.contract

RUN = RunDir(Path("out/x"))
FILES = {"train_file": Path("train.parquet"), "test_file": Path("test.parquet")}
RL = [name for name, algorithm in algorithms().items() if "rl" in algorithm.stages]
# Each of a kind of its own: estimator, critic, loss, demonstrations, hints in the response or in the question.
EVERYWHERE = ["rft", "uft", "luffy", "ppo", "una_online", "questa"]
SFT = [name for name, algorithm in algorithms().items() if "sft" in algorithm.stages]
# verl reads a critic's tokenizer while it checks its settings: a model that is here.
EMBEDDED = str(ROOT / "models/tiny-countdown")
PROBLEMS = [name for name, task in TASKS.items() if task.kind == "problems" and not task.only_for_evaluation]


@pytest.fixture(autouse=True)
def _read_verls_files_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra takes half a second to read verl's files, and finds the same every time."""
    from recipes.verl_plugin import compose

    monkeypatch.setattr(compose, "compose", _composed())


@cache
def _composed() -> Any:
    from hydra import compose

    return cache(compose)


def reinforcement(experiment: Experiment) -> Any:
    """verl's whole configuration of a reinforcement stage, after verl's own validation."""
    from recipes.verl_plugin.compose import compose_config
    from recipes.verl_plugin.main import checked_config

    values = rl_config(experiment, run=RUN, model=experiment.model, resume_from=None, **FILES)
    return checked_config(compose_config("ppo_trainer", values, []))


# What each profile, each algorithm and each task is seen with; all with all are extended.
SOME = [
    *(("uft", profile, "countdown") for profile in PROFILES),
    *((algo, profile, "math") for algo in RL for profile in ("cpu", "h100x2")),
    *((algo, "cpu", data) for algo in EVERYWHERE for data in PROBLEMS if data != "math"),
]
ALL = [(algo, profile, data) for algo in RL for profile in PROFILES for data in PROBLEMS]


@pytest.mark.parametrize(
    ("algo", "profile", "data"),
    [each if each in SOME else pytest.param(*each, marks=pytest.mark.extended) for each in ALL],
)
def test_verl_accepts_the_reinforcement_configuration(algo: str, profile: str, data: str) -> None:
    model = EMBEDDED if "critic" in algorithms()[algo].needs else "Qwen/Qwen2.5-0.5B"
    experiment = build_experiment({"algo": algo, "data": data, "model": model}, PROFILES[profile])
    config = reinforcement(experiment)
    assert config.algorithm.adv_estimator == {"ppo": "gae", "una_online": "score"}.get(algo, "uft")
    assert config.critic.enable == (algo == "ppo")
    assert config.actor_rollout_ref.rollout.n == experiment.n_rollout + algorithms()[algo].demonstrations
    assert config.actor_rollout_ref.ref.strategy == "fsdp2"
    assert config.actor_rollout_ref.rollout.response_length == experiment.response_length
    assert config.actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu == kernels.micro_batch_limit(experiment)
    assert config.uft.algorithm == algo


@pytest.mark.parametrize(("samples", "expected"), [(0, (1, False, 0.0)), (4, (5, True, 0.7))])
def test_a_validation_is_one_greedy_answer_or_several_at_the_trainings_temperature_and_a_greedy_one(
    samples: int, expected: tuple[int, bool, float]
) -> None:
    flags = {"algo": "rft", "model": "Qwen/Qwen2.5-0.5B", "val_samples": samples, "temperature": 0.7}
    found = reinforcement(build_experiment(flags, PROFILES["cpu"])).actor_rollout_ref.rollout.val_kwargs
    assert (found.n, found.do_sample, found.temperature) == expected
    assert found.top_p == 1.0


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("algo", SFT)
@pytest.mark.parametrize(
    "data", ["math", *(pytest.param(d, marks=pytest.mark.extended) for d in PROBLEMS if d != "math")]
)
def test_verl_builds_its_dataclasses_from_the_supervised_configuration(algo: str, profile: str, data: str) -> None:
    from verl.utils.config import omega_conf_to_dataclass

    from recipes.verl_plugin.compose import compose_config

    experiment = build_experiment({"algo": algo, "data": data, "model": "Qwen/Qwen2.5-0.5B"}, PROFILES[profile])
    values = sft_config(experiment, run=RUN, model=experiment.model, resume_from=None, **FILES)
    config = compose_config("sft_trainer_engine", values, [])
    assert omega_conf_to_dataclass(config.engine).strategy == "fsdp2"
    assert omega_conf_to_dataclass(config.optim).lr == experiment.sft_lr
    assert config.model.use_fused_kernels == (experiment.device == "cuda")


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


SEVEN_B = "Qwen/Qwen2.5-7B"


@pytest.mark.parametrize(("tp_size", "sequence"), [(1, 1), (2, 1), (4, 1), (1, 2), (2, 4)])
def test_a_7b_model_may_be_shared_by_engines_and_sequences_by_ranks(
    tp_size: int, sequence: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checked by configuration: verl's own validation."""
    from recipes.verl_plugin.compose import compose_config
    from recipes.verl_plugin.main import checked_config

    monkeypatch.setattr(kernels, "flash_attention_installed", lambda: True)
    ulysses = f"actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size={sequence}"
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
    given = (f"actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size={size}",)
    with pytest.raises(ExperimentError, match=engine) if engine else nullcontext():
        build_experiment({"model": model, "n_gpu": n_gpu, "tp_size": size}, PROFILES["h100x8"])
    with pytest.raises(ExperimentError, match=trainer) if trainer else nullcontext():
        split_overrides(build_experiment({"model": model, "n_gpu": n_gpu, "overrides": given}, PROFILES["h100x8"]))


@pytest.mark.parametrize("size", ["null", "1.5"])
def test_a_number_of_ranks_is_whole(size: str) -> None:
    given = (f"actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size={size}",)
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
    for sequences, prompts, at_once, largest, tokens in cases:
        flags = {"model": "Qwen/Qwen2.5-1.5B", "max_num_seqs": sequences, "batch_size": prompts}
        rollout = reinforcement(build_experiment(flags, PROFILES["1x80gb"])).actor_rollout_ref.rollout
        found = (rollout.max_num_seqs, rollout.cudagraph_capture_sizes[-1], rollout.max_num_batched_tokens)
        assert found == (at_once, largest, tokens)
    assert 'compilation_config["cudagraph_capture_sizes"]' in inspect.getsource(vLLMHttpServer.launch_server)


@pytest.mark.parametrize(("cores", "n_gpu", "cpus", "workers"), [(4, 1, 7, 4), (28, 8, 28, 8), (128, 8, 128, 8)])
def test_ray_counts_the_processors_that_verl_asks_for(
    cores: int, n_gpu: int, cpus: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verl_config, "cores", lambda: cores)
    config = reinforcement(build_experiment({"n_gpu": n_gpu}, PROFILES["h100x8"]))
    assert config.ray_kwargs.ray_init.num_cpus == cpus
    assert config.actor_rollout_ref.rollout.agent.num_workers == config.reward.num_workers == workers


def test_every_node_has_its_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    """They go round to every node of the cluster; verl advises two on each."""
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    config = reinforcement(build_experiment({"nnodes": 3}, PROFILES["h100x8"]))
    assert config.transfer_queue.backend.SimpleStorage.num_data_storage_units == 6


def test_rollouts_have_seeds_of_their_own_on_the_cpu_and_where_they_are_asked_for() -> None:
    def seeds(profile: str, resume_from: Path | None = None, **flags: Any) -> tuple[bool, int]:
        e = build_experiment(flags, PROFILES[profile])
        values = rl_config(e, run=RUN, model=e.model, resume_from=resume_from, **FILES)
        return values["uft"]["request_seeds"], values["actor_rollout_ref"]["rollout"]["seed"]

    later = Path("checkpoints/global_step_20")
    assert seeds("cpu", seed=3) == seeds("cpu", later, seed=3) == (True, 3)
    assert seeds("1x80gb", later, seed=3, rollout_seeds="each") == (True, 3)
    assert seeds("1x80gb", seed=3) == seeds("cpu", seed=3, rollout_seeds="engine") == (False, 3)
    # A resumed engine does not draw the numbers of its first steps again.
    resumed = seeds("1x80gb", later, seed=3)
    assert resumed == seeds("1x80gb", later, seed=3) != (False, 3)
    assert 0 <= resumed[1] < 2**31


def test_a_critic_keeps_its_own_head() -> None:
    """verl's fused head would replace the forward pass of the value model."""
    if "ppo" not in algorithms():
        pytest.skip("no algorithm with a critic")
    config = reinforcement(build_experiment({"algo": "ppo", "model": EMBEDDED}, PROFILES["h100x2"]))
    assert config.actor_rollout_ref.model.use_fused_kernels
    assert not config.critic.model.get("use_fused_kernels", False)


def test_overrides_come_last_and_typos_are_refused() -> None:
    from recipes.verl_plugin.compose import compose_config

    values = {"trainer": {"test_freq": 7}}
    assert compose_config("ppo_trainer", values, ["trainer.test_freq=9"]).trainer.test_freq == 9
    assert compose_config("ppo_trainer", values, ["+trainer.extra=[1,2]"]).trainer.extra == [1, 2]
    with pytest.raises(ExperimentError, match=r"did you mean 'trainer.test_freq'"):
        compose_config("ppo_trainer", values, ["trainer.test_frek=9"])
    with pytest.raises(ExperimentError, match="key=value"):
        compose_config("ppo_trainer", values, ["trainer.test_freq"])


@pytest.mark.parametrize(
    ("weigh", "end"),
    [("lambda group, s: group.scores * s.doubt_coef", ExperimentError), ("weigh", InterruptedError)],
    ids=["odd", "usual"],
)
def test_a_users_hooks_are_tried_before_anything_is_loaded(weigh: str, end: type[Exception], tmp_path: Path) -> None:
    from types import SimpleNamespace

    from recipes.verl_plugin.main import train

    def load() -> None:
        raise InterruptedError

    file = tmp_path / "mine.py"
    example = (Path(EMBEDDED).parents[1] / "examples/own_algorithm.py").read_text(encoding="utf-8")
    file.write_text(example.replace("weigh=weigh", f"weigh={weigh}"), encoding="utf-8")
    experiment = build_experiment({"algo": str(file), "model": EMBEDDED}, PROFILES["cpu"])
    with pytest.raises(end, match=None if end is InterruptedError else f"^--algo {file}: weigh returns tensor"):
        train(SimpleNamespace(config=reinforcement(experiment), init=load))
