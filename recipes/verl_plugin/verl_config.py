"""Experiment -> the part of verl's configuration that differs from verl's defaults.

Pure: imports no verl, so that --dry_run is fast. `compose.py` merges these values into verl's own files.
"""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data_prep.prompt_styles import PLAIN_TEMPLATE, STYLES
from recipes import ROOT
from recipes.algorithms.hints.schedule import sampling_seed
from recipes.common.machine import cores
from recipes.common.run_dir import RunDir, checkpoint_step
from recipes.estimate.kernels import has_flash_attention, has_fused_head, micro_batch_limit
from recipes.estimate.machine_needs import ray_cpus
from recipes.settings.applies import by_score, by_variance
from recipes.settings.experiment import Experiment
from recipes.settings.hook_settings import hook_settings
from recipes.settings.saved import training_record
from recipes.settings.trackers import run_name
from recipes.verl_plugin.environment import environment
from recipes.verl_plugin.loss_config import actor_loss_config, algorithm_config, supervised_shape
from recipes.verl_plugin.warm_client import py_executable
from reward_fns import is_custom

REINFORCEMENT, SUPERVISED = "ppo_trainer", "sft_trainer_engine"
"""verl's own configurations that a run is based on."""

AGENT_LOOP = "hinted"
"""Name of our agent loop (agent_loop.yaml); a data row may name another one in its column agent_name."""

OWN_SAMPLER = {"path": "pkg://recipes.verl_plugin.dynamic_sampling", "name": "VariedGroups"}
"""The sampler of --dynamic_sampling, for verl."""

MOST_IN_A_GRAPH = 1024
"""Maximal number of sequences per CUDA graph: larger batches compute for longer than kernels take to launch, and each
graph costs memory and seconds at the start."""

# The replay buffer's polling interval for finished rollouts; verl's 2 s would be most of a small run's step.
POLL_SECONDS = 0.05

_FLOAT32 = {"param_dtype": "fp32", "reduce_dtype": "fp32", "buffer_dtype": "fp32"}
_SAVED = ["model", "optimizer", "extra", "hf_model"]


def model_config(experiment: Experiment, model: str) -> dict[str, Any]:
    """The model section, shared by both trainers.

    On a GPU sequences are packed without padding: a micro-batch has room for a longest sequence, so it would be mostly
    padding. Without flash-attention a square mask separates them (transformers builds it from the positions).
    """
    e = experiment
    flash = has_flash_attention(e)
    return {
        "path": model,
        "enable_gradient_checkpointing": e.device == "cuda",
        "use_remove_padding": e.device == "cuda",
        "override_config": {"attn_implementation": "flash_attention_2" if flash else "sdpa"},
        "lora_rank": e.lora_rank,
        "lora_alpha": e.alignment.lora_alpha,
        "target_modules": "all-linear",
    }


def chat_template(experiment: Experiment) -> dict[str, str | None]:
    """The template for prompts, passed at each call: the tokenizer, which verl saves, keeps its own.

    The chat style is based on the model's own template, which compose.py reads when the run starts.
    """
    return {"chat_template": None if STYLES[experiment.prompt_style].chat else PLAIN_TEMPLATE}


def engine_config(experiment: Experiment, *, trained: bool) -> dict[str, Any]:
    """FSDP settings of a model; `trained` is False for the reference model."""
    config: dict[str, Any] = {"strategy": "fsdp2", "use_torch_compile": experiment.device != "cpu"}
    if experiment.device == "cpu":
        config["mixed_precision"] = _FLOAT32
    elif not trained:
        config["model_dtype"] = "bfloat16"
    return config


def sequences_at_once(experiment: Experiment) -> int:
    """--max_num_seqs, but above 1,024 at most as many as an engine gets per step: vLLM allocates memory for the tokens
    and logits of all of them when it starts."""
    e = experiment
    engines = max(1, e.n_gpu * e.nnodes // e.tp_size)
    of_a_step = -(-e.batch_size * e.n_rollout // engines)
    return min(e.max_num_seqs, max(1024, of_a_step))


def rl_config(
    experiment: Experiment,
    *,
    run: RunDir,
    model: str,
    train_file: Path,
    test_file: Path,
    resume_from: Path | None,
    ray_folder: Path | None = None,
) -> dict[str, Any]:
    """What an RL stage changes in verl's ppo_trainer configuration, plus our own section `uft`."""
    e, on_cpu = experiment, experiment.device == "cpu"
    micro = {"use_dynamic_bsz": True, "ppo_max_token_len_per_gpu": micro_batch_limit(e)}
    extension = "vllm_cpu.CPUWorkerExtension" if on_cpu else "weight_sync.WorkerExtension"
    at_once = sequences_at_once(e)
    rollout: dict[str, Any] = {
        "name": "vllm",
        "n": e.n_rollout + e.algorithm.demonstrations,
        "temperature": e.temperature,
        "dtype": e.dtype,
        "tensor_model_parallel_size": e.tp_size,
        "gpu_memory_utilization": e.rollout_memory,
        "prompt_length": e.prompt_length,
        "max_model_len": e.prompt_length + e.response_length,
        "max_num_seqs": at_once,
        # verl's 8,192; with less than one token per sequence vLLM does not start.
        "max_num_batched_tokens": max(8192, at_once),
        "seed": engine_seed(e, resume_from),
        "enforce_eager": on_cpu,
        "free_cache_engine": not on_cpu,
        "engine_kwargs": {"vllm": {"worker_extension_cls": f"recipes.verl_plugin.{extension}"}},
        "agent": {
            "num_workers": worker_count(e),
            "default_agent_loop": AGENT_LOOP,
            "agent_loop_config_path": str(ROOT / "recipes/verl_plugin/agent_loop.yaml"),
        },
    }
    if e.val_samples:
        # One more than sampled: the last is greedy (agent_loop.py).
        rollout["val_kwargs"] = {"n": e.val_samples + 1, "do_sample": True, "temperature": e.temperature, "top_p": 1.0}
    if on_cpu:
        rollout["enable_sleep_mode"] = False
        # For chunked prompts vLLM rewinds the request's random generator, which only works on a GPU.
        rollout["enable_chunked_prefill"] = False
        # In the engine's own process: as two processes they would wait for each other by spinning on both cores.
        rollout["engine_kwargs"]["vllm"]["distributed_executor_backend"] = "uni" if e.tp_size == 1 else "mp"
        rollout["max_num_batched_tokens"] = max(rollout["max_num_batched_tokens"], e.prompt_length + e.response_length)
        rollout["checkpoint_engine"] = {"update_weights_bucket_megabytes": 64}  # more for large weights: compose.py
    else:
        rollout["cudagraph_capture_sizes"] = graph_sizes(min(at_once, MOST_IN_A_GRAPH))
        if e.lora_rank:
            rollout["load_format"] = "safetensors"
    return {
        "uft": uft_section(e, run),
        "data": {
            "train_files": str(train_file),
            "val_files": str(test_file),
            "train_batch_size": e.batch_size,
            # The test file contains the problems of --val_size: verl would draw others than an evaluation.
            "val_max_samples": -1,
            "max_prompt_length": e.max_prompt_length,
            "max_response_length": e.response_length,
            "filter_overlong_prompts": True,
            # verl's default of one worker starts a process and is no faster.
            "filter_overlong_prompts_workers": None,
            "seed": e.seed,
            "apply_chat_template_kwargs": chat_template(e),
            # Rows are short texts; in-process loading makes the order exactly resumable.
            "dataloader_num_workers": 0,
            # One by one, since any number may need replacement.
            **({"gen_batch_size": 1} if samples_dynamically(e) else {}),
        },
        "actor_rollout_ref": {
            "model": {**model_config(e, model), "use_fused_kernels": has_fused_head(e)},
            "actor": {
                **micro,
                "strategy": "fsdp2",
                "ppo_mini_batch_size": e.mini_batch_size,
                "optim": {"lr": e.lr},
                **actor_loss_config(e),
                "use_torch_compile": not on_cpu,
                "fsdp_config": engine_config(e, trained=True),
                "checkpoint": {"save_contents": _SAVED, "load_contents": ["model", "optimizer", "extra"]},
            },
            "ref": {"fsdp_config": engine_config(e, trained=False)},
            "rollout": rollout,
        },
        "algorithm": algorithm_config(e),
        "critic": critic_config(e, model),
        "reward": {
            "num_workers": worker_count(e),
            "reward_manager": {
                "source": "importlib",
                "name": "naive",
                "module": {"path": "pkg://recipes.verl_plugin.reward_manager"},
            },
            "custom_reward_function": {
                "path": "pkg://reward_fns",
                "name": "compute_score",
                "reward_kwargs": {"reward": e.reward, "answer_format": STYLES[e.prompt_style].answer_format},
            },
        },
        "trainer": {
            "device": e.device,
            "n_gpus_per_node": e.n_gpu,
            "nnodes": e.nnodes,
            "total_training_steps": e.T,
            # Epochs never end a run: total_training_steps does.
            "total_epochs": 10**6,
            "test_freq": e.test_freq,
            "save_freq": e.save_freq,
            "val_before_train": resume_from is None,
            "resume_mode": "disable" if resume_from is None else "resume_path",
            "resume_from_path": None if resume_from is None else str(resume_from),
            "default_local_dir": str(run.checkpoints),
            "validation_data_dir": str(run.validation),
            "project_name": e.project,
            "experiment_name": run_name(e.run_name, run),
            "logger": [name for name in e.logger if name != "file"],
            **sampler_config(e),
        },
        "transfer_queue": {"backend": {"SimpleStorage": {"num_data_storage_units": 1 if on_cpu else 2 * e.nnodes}}},
        "ray_kwargs": {"ray_init": ray_init(e, run, ray_folder)},
    }


def graph_sizes(sequences: int) -> list[int]:
    """Batch sizes for which vLLM captures a CUDA graph: dense for small ones, up to all sequences.

    vLLM's default 51 sizes end at 512, so larger batches decode without a graph, and small cards spend memory on sizes
    that they never decode.
    """
    steps = [*(1, 2, 4, 8), *range(16, 257, 16), *range(288, 513, 32), *range(576, sequences + 1, 64)]
    return [*(size for size in steps if size < sequences), sequences]


def engine_seed(experiment: Experiment, resume_from: Path | None) -> int:
    """The engine's seed: a resumed run must not repeat the random numbers of its first steps."""
    step = None if resume_from is None else checkpoint_step(resume_from)
    if experiment.seeds_rollouts or not step:
        return experiment.seed
    return sampling_seed(experiment.seed, step, "engine", 0) % 2**31


def worker_count(experiment: Experiment) -> int:
    """Number of rollout processes, and of reward processes."""
    return 1 if experiment.device == "cpu" else min(8, cores())


def samples_dynamically(experiment: Experiment) -> bool:
    """Whether prompts without reward variance are replaced."""
    return experiment.dynamic_sampling and by_variance(experiment.algorithm, experiment.stages)


def sampler_config(experiment: Experiment) -> dict[str, Any]:
    """verl's section trainer.v1."""
    if not samples_dynamically(experiment):
        return {}
    by_verdict = not by_score(experiment.algorithm, experiment.stages)
    how = {"rounds": experiment.dynamic_sampling_rounds, "by_verdict": by_verdict}
    return {"v1": {"sampler": {"custom_sampler": OWN_SAMPLER, "sampler_kwargs": how}}}


def critic_config(experiment: Experiment, model: str) -> dict[str, Any]:
    """The critic of ppo: the policy's weights with a new head, with the policy's size and batches."""
    e = experiment
    if "critic" not in e.algorithm.needs:
        return {"enable": False}
    return {
        "enable": True,
        "strategy": "fsdp2",
        "model": {"_target_": "verl.workers.config.HFModelConfig", **model_config(e, model)},
        "fsdp": engine_config(e, trained=True),
        "optim": {"lr": e.critic_lr},
        "use_dynamic_bsz": True,
        "ppo_max_token_len_per_gpu": micro_batch_limit(e),
        "ppo_infer_max_token_len_per_gpu": micro_batch_limit(e),
        "ppo_mini_batch_size": e.mini_batch_size,
    }


def uft_section(experiment: Experiment, run: RunDir) -> dict[str, Any]:
    """Our own section of the configuration, read by the agent loop and the trainer."""
    e = experiment
    return {
        "algorithm": e.algo,
        "record": asdict(training_record(e)),
        "run_dir": str(run.path),
        "seed": e.seed,
        "hf_dtype": e.hf_dtype,
        "request_seeds": e.seeds_rollouts,
        "settings": hook_settings(e),
        "val_samples": e.val_samples,
        "max_hint_length": e.max_hint_length,
        "max_new_tokens": e.max_response_length,
        "overlong_buffer": e.overlong_buffer if by_score(e.algorithm, e.stages) else 0,
        "overlong_penalty": e.overlong_penalty,
        "dynamic_sampling": samples_dynamically(e),
        "keep_checkpoints": e.keep_checkpoints,
        "log_rollouts": e.log_rollouts,
        "early_stopping": e.early_stopping,
        "prompt_style": e.prompt_style,
        "pass_question": is_custom(e.reward),
        "max_reward_error_rate": e.max_reward_error_rate,
        "max_timeout_rate": e.max_timeout_rate,
        "max_parse_fail_rate": e.max_parse_fail_rate,
        "parse_fail_steps": e.parse_fail_steps,
    }


def ray_init(experiment: Experiment, run: RunDir, folder: Path | None) -> dict[str, Any]:
    """Arguments of ray.init: a separate local instance in `folder`, unless RAY_ADDRESS names a running cluster."""
    if os.environ.get("RAY_ADDRESS"):
        # Workers of a running cluster inherit the cluster's environment, not this process's.
        env = {"env_vars": environment(experiment, run)}
        return {"address": os.environ["RAY_ADDRESS"], "runtime_env": env}
    config: dict[str, Any] = {"address": "local", "include_dashboard": False}
    if folder is not None:
        config["_temp_dir"] = str(folder)
    if experiment.device == "cpu":
        # Logical resources: verl requests GPUs to place workers, and more CPUs than a laptop has.
        config |= {"num_gpus": experiment.n_gpu, "num_cpus": 32, "object_store_memory": 512 * 1024**2}
        if folder is not None:
            config["runtime_env"] = {"py_executable": py_executable()}
    else:
        # With fewer than verl requests, it hangs while placing its workers.
        config["num_cpus"] = max(cores(), ray_cpus(experiment.n_gpu))
    return config


def sft_config(
    experiment: Experiment, *, run: RunDir, model: str, train_file: Path, test_file: Path, resume_from: Path | None
) -> dict[str, Any]:
    """What an SFT stage changes in verl's sft_trainer_engine configuration, plus our own section `uft`."""
    e = experiment
    longest = e.max_prompt_length + e.max_hint_length + e.max_response_length
    return {
        "uft": {
            "run_dir": str(run.path),
            "hf_dtype": e.hf_dtype,
            "keep_checkpoints": e.keep_checkpoints,
            "early_stopping": e.early_stopping,
            "prompt_style": e.prompt_style,
            "record": asdict(training_record(e)),
            "shape": supervised_shape(e),
        },
        "data": {
            "train_files": str(train_file),
            "val_files": str(test_file),
            "train_batch_size": e.batch_size,
            "max_token_len_per_gpu": micro_batch_limit(e),
            "val_max_samples": -1,
            "apply_chat_template_kwargs": chat_template(e),
            "max_length": longest,
            "custom_cls": {"path": "pkg://recipes.verl_plugin.sft_dataset", "name": "SolutionDataset"},
            "num_workers": 0,
        },
        "model": {**model_config(e, model), "use_fused_kernels": has_fused_head(e)},
        "engine": engine_config(e, trained=True),
        "optim": {"lr": e.sft_lr, "betas": [0.9, 0.95], "lr_warmup_steps_ratio": 0.1, "lr_scheduler_type": "cosine"},
        "checkpoint": {"save_contents": _SAVED, "load_contents": ["model", "optimizer", "extra"]},
        "trainer": {
            "device": e.device,
            "n_gpus_per_node": e.n_gpu,
            "nnodes": e.nnodes,
            "seed": e.seed,
            "total_epochs": e.sft_epochs,
            "test_freq": e.test_freq,
            "save_freq": e.save_freq,
            "resume_mode": "disable" if resume_from is None else "resume_path",
            "resume_from_path": None if resume_from is None else str(resume_from),
            "default_local_dir": str(run.checkpoints),
            "project_name": e.project,
            "experiment_name": run_name(e.run_name, run),
            "logger": [name for name in e.logger if name != "file"],
        },
    }
