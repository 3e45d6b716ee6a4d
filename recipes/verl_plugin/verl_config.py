"""Experiment -> the part of verl's configuration that differs from verl's defaults.

Pure: imports no verl, so that --dry_run is fast. `compose.py` merges these values into verl's own files.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from data_prep.prompt_styles import STYLES
from recipes import ROOT
from recipes.common.run_dir import RunDir
from recipes.estimate.kernels import has_fused_head, micro_batch_limit
from recipes.settings.experiment import Experiment
from recipes.settings.saved import training_record
from recipes.settings.trackers import run_name
from recipes.verl_plugin.config_sections import (
    AGENT_LOOP,
    chat_template,
    critic_config,
    engine_config,
    engine_seed,
    graph_sizes,
    model_config,
    ray_init,
    sampler_config,
    samples_dynamically,
    sequences_at_once,
    uft_section,
    worker_count,
)
from recipes.verl_plugin.loss_config import actor_loss_config, algorithm_config, supervised_shape

REINFORCEMENT, SUPERVISED = "ppo_trainer", "sft_trainer_engine"
"""verl's own configurations that a run is based on."""

MOST_IN_A_GRAPH = 1024
"""Maximal number of sequences per CUDA graph: larger batches compute for longer than kernels take to launch, and each
graph costs memory and seconds at the start."""

# The replay buffer's polling interval for finished rollouts; verl's 2 s would be most of a small run's step.
POLL_SECONDS = 0.05

_SAVED = ["model", "optimizer", "extra", "hf_model"]


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
