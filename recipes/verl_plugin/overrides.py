"""Which of verl's settings a user may override after --, and which are determined by a run's flags."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from recipes.common.errors import ExperimentError

OWNED = {
    "uft": "the flags of run.py",
    "algorithm.adv_estimator": "--algo",
    "actor_rollout_ref.actor.policy_loss.loss_mode": "--algo",
    "actor_rollout_ref.actor.loss_agg_mode": "--algo and --hint_nll_agg",
    "actor_rollout_ref.actor.loss_scale_factor": "--algo",
    "actor_rollout_ref.actor.use_kl_loss": "--algo and --kl_coef",
    **dict.fromkeys((f"actor_rollout_ref.actor.clip_ratio{which}" for which in ("", "_low")), "--clip_ratio"),
    "actor_rollout_ref.actor.clip_ratio_high": "--clip_ratio and --clip_ratio_high",
    "actor_rollout_ref.actor.kl_loss_coef": "--kl_coef",
    "actor_rollout_ref.actor.entropy_coeff": "--entropy_coef",
    "actor_rollout_ref.actor.ppo_mini_batch_size": "--mini_batch_size",
    "actor_rollout_ref.actor.optim.lr": "--lr",
    "optim.lr": "--sft_lr",
    "critic.optim.lr": "--critic_lr",
    "actor_rollout_ref.rollout.temperature": "--temperature",
    "actor_rollout_ref.rollout.agent.default_agent_loop": "--algo",
    "actor_rollout_ref.rollout.n": "--algo and --n_rollout",
    "critic.enable": "--algo",
    **dict.fromkeys(
        (
            f"{section}{key}"
            for section in ("actor_rollout_ref.model.", "model.", "critic.model.")
            for key in ("path", "tokenizer_path", "hf_config_path")
        ),
        "--model",
    ),
    **dict.fromkeys(
        (
            f"{section}{key}"
            for section in ("actor_rollout_ref.model.", "model.")
            for key in ("external_lib", "mtp", "custom_chat_template")
        ),
        "what this repository loads and trains",
    ),
    "data.val_batch_size": "--val_size",
    "data.pad_mode": "the supervised rows of this repository",
    "transfer_queue": "the data plane that the trainer relies on",
    **dict.fromkeys(
        (f"actor_rollout_ref.rollout.{kind}_parallel_size" for kind in ("data", "expert", "pipeline_model")),
        "--tp_size and --n_gpu",
    ),
    **dict.fromkeys(
        (
            f"{section}.forward_only"
            for section in ("engine", "critic.fsdp", *(f"actor_rollout_ref.{e}.fsdp_config" for e in ("actor", "ref")))
        ),
        "the role of each model",
    ),
    **dict.fromkeys(("ray_kwargs.ray_init.num_gpus", "ray_kwargs.ray_init.address"), "--n_gpu and RAY_ADDRESS"),
    **dict.fromkeys(("reward.custom_reward_function", "custom_reward_function"), "--reward"),
    **dict.fromkeys(("reward.reward_manager.source", "reward.reward_manager.module"), "--reward"),
    **dict.fromkeys(("reward_model", "sandbox_fusion"), "--reward"),
    **dict.fromkeys(("data.train_files", "data.custom_cls", "data.train_max_samples"), "--data"),
    "data.train_batch_size": "--batch_size",
    "data.val_files": "--data and --val_data",
    "data.val_max_samples": "--val_size",
    **dict.fromkeys(("data.prompt_key", "data.reward_fn_key", "data.return_raw_chat", "data.truncation"), "--data"),
    **dict.fromkeys(("data.seed", "data.shuffle", "actor_rollout_ref.rollout.seed", "trainer.seed"), "--seed"),
    "data.max_prompt_length": "--max_prompt_length",
    "data.max_length": "--max_prompt_length, --max_hint_length and --max_response_length",
    **dict.fromkeys(
        (
            *("engine.strategy", "critic.strategy", "critic.fsdp.strategy"),
            *(f"actor_rollout_ref.{of}.strategy" for of in ("actor", "ref")),
            *(f"actor_rollout_ref.{of}.fsdp_config.strategy" for of in ("actor", "ref")),
        ),
        "FSDP2, from which weights are exported",
    ),
    "actor_rollout_ref.rollout.prompt_length": "--max_prompt_length",
    "actor_rollout_ref.rollout.name": "this repository's rollouts, which vLLM generates",
    "actor_rollout_ref.rollout.mode": "this repository's rollouts, which vLLM's asynchronous engine generates",
    "actor_rollout_ref.rollout.tensor_model_parallel_size": "--tp_size",
    "actor_rollout_ref.rollout.gpu_memory_utilization": "--rollout_memory",
    "actor_rollout_ref.rollout.max_num_seqs": "--max_num_seqs",
    "actor_rollout_ref.rollout.val_kwargs": "--val_samples and --temperature",
    "actor_rollout_ref.hybrid_engine": "--algo",
    "actor_rollout_ref.actor.ppo_epochs": "--algo",
    "actor_rollout_ref.actor.checkpoint": "what --resume and the published weights need",
    "checkpoint": "what --resume and the published weights need",
    **dict.fromkeys(
        (
            f"{section}{key}"
            for section in ("actor_rollout_ref.model.", "model.")
            for key in ("lora_rank", "lora_alpha")
        ),
        "--lora_rank and --lora_alpha",
    ),
    **dict.fromkeys(
        ("actor_rollout_ref.actor.ppo_max_token_len_per_gpu", "actor_rollout_ref.actor.use_dynamic_bsz"),
        "--tokens_per_micro_batch",
    ),
    **dict.fromkeys(("data.max_token_len_per_gpu", "data.use_dynamic_bsz"), "--tokens_per_micro_batch"),
    **dict.fromkeys(
        (
            "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu",
            "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu",
            "data.micro_batch_size_per_gpu",
        ),
        "--tokens_per_micro_batch, as micro-batches are filled with tokens",
    ),
    "algorithm.rollout_correction.rollout_is": "--rollout_correction",
    "trainer.total_training_steps": "the number of steps: --T, or --epochs for supervised stages",
    "trainer.total_epochs": "--T and --sft_epochs",
    **dict.fromkeys(("trainer.val_only", "trainer.val_before_train"), "--eval and --resume"),
    "trainer.test_freq": "--test_freq",
    "trainer.save_freq": "--save_freq",
    **{f"trainer.max_{which}ckpt_to_keep": "--keep_checkpoints" for which in ("actor_", "critic_", "")},
    "trainer.logger": "--logger",
    "trainer.project_name": "--project",
    "trainer.experiment_name": "--run_name",
    "trainer.device": "--profile",
    "trainer.n_gpus_per_node": "--n_gpu",
    "trainer.nnodes": "--nnodes",
    **dict.fromkeys(("trainer.default_local_dir", "trainer.validation_data_dir", "trainer.rollout_data_dir"), "--out"),
    **dict.fromkeys(("trainer.resume_mode", "trainer.resume_from_path"), "--resume"),
}
"""Settings that define a run, and the flags that set them: with an override, the run would not match its name."""

FREE = (
    *("data.filter_overlong_prompts_workers", "data.max_response_length", "reward.num_workers", "ray_kwargs"),
    *("engine", "critic.fsdp", "critic.model"),
    *(
        f"actor_rollout_ref.rollout.{key}"
        for key in (
            *("agent.num_workers", "agent.agent_loop_config_path", "checkpoint_engine", "cudagraph_capture_sizes"),
            *("dtype", "enable_chunked_prefill", "enable_sleep_mode", "enforce_eager", "free_cache_engine"),
            *("engine_kwargs.vllm.distributed_executor_backend", "load_format", "max_model_len"),
            "max_num_batched_tokens",
        )
    ),
    *(
        f"{section}model.{key}"
        for section in ("", "actor_rollout_ref.")
        for key in (
            *("enable_gradient_checkpointing", "override_config", "target_modules"),
            *("use_fused_kernels", "use_remove_padding"),
        )
    ),
    *(f"actor_rollout_ref.actor.{key}" for key in ("fsdp_config", "use_torch_compile")),
    *("actor_rollout_ref.ref.fsdp_config", "optim"),
)
"""Settings of a run (verl_config.py) that only affect speed and memory: users may know better."""

_CRITIC_KEYS = ("critic", "trainer.critic_warmup", "algorithm.gamma", "algorithm.lam")
_IDLE = "has no effect: this algorithm trains no critic"


def decided(values: dict[str, Any], *, critic: bool) -> dict[str, str]:
    """What no override may change, by key, and why: OWNED, and everything this run sets itself except FREE."""
    open_ = (*(f"{free}." for free in FREE), *(f"{key}." for key in OWNED))
    set_here = {key: "" for key in _leaves(values) if not key.startswith(open_)}
    found = {key: why for key, why in {**set_here, **OWNED}.items() if key not in FREE}
    return found if critic else {**found, **dict.fromkeys(_CRITIC_KEYS, _IDLE)}


def _leaves(values: Mapping[str, Any], place: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{place}{name}.")
        else:
            yield f"{place}{name}"


def values_of(config: DictConfig, keys: Iterable[str]) -> dict[str, Any]:
    found = {key: OmegaConf.select(config, key) for key in keys}
    return {key: OmegaConf.to_container(of) if OmegaConf.is_config(of) else of for key, of in found.items()}


def refuse_decided(override: str, ours: dict[str, str], before: dict[str, Any], after: dict[str, Any]) -> None:
    """Raise ExperimentError for an override that changed a setting in `ours`, by whatever key or section."""
    for key, why in ours.items():
        if before[key] != after[key]:
            reason = f"belongs to {why}" if why else "is set by this run, which relies on it"
            reason = f"follows from {why}; change it there" if why.startswith("--") else reason
            raise ExperimentError(f"override {override!r} after --: {key} {_IDLE if why == _IDLE else reason}")


def refuse_twice(overrides: Iterable[str]) -> None:
    """Raise ExperimentError for a key with two values, since only the last would take effect."""
    given: dict[str, str] = {}
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if given.setdefault(key, value) != value:
            raise ExperimentError(f"override {key!r} after -- is given twice, as {given[key]} and {value}; give one")


def refused(key: str, why: str) -> ExperimentError:
    """The error for an invalid override."""
    return ExperimentError(f"override {key!r} after --: {why}")
