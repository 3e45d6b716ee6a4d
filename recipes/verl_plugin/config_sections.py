"""Sections of verl's configuration from an Experiment. Pure: imports no verl."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data_prep.prompt_styles import PLAIN_TEMPLATE, STYLES
from recipes.algorithms.hints.schedule import sampling_seed
from recipes.common.machine import cores
from recipes.common.run_dir import RunDir, checkpoint_step
from recipes.estimate.kernels import has_flash_attention, micro_batch_limit
from recipes.estimate.machine_needs import ray_cpus
from recipes.settings.applies import by_score, by_variance
from recipes.settings.experiment import Experiment
from recipes.settings.hook_settings import hook_settings
from recipes.settings.saved import training_record
from recipes.verl_plugin.environment import environment
from recipes.verl_plugin.warm_client import py_executable
from reward_fns import is_custom

AGENT_LOOP = "hinted"
"""Name of our agent loop (agent_loop.yaml); a data row may name another one in its column agent_name."""

OWN_SAMPLER = {"path": "pkg://recipes.verl_plugin.dynamic_sampling", "name": "VariedGroups"}
"""The sampler of --dynamic_sampling, for verl."""

_FLOAT32 = {"param_dtype": "fp32", "reduce_dtype": "fp32", "buffer_dtype": "fp32"}


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
