"""Checks overrides of rollout settings against vLLM before a run starts."""

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from eval.models import find_model
from recipes.common.errors import ExperimentError, nearest
from recipes.common.run_dir import RunDir
from recipes.data.stored_tokenizer import is_here
from recipes.flags.parser import key_of
from recipes.settings.experiment import Experiment
from recipes.verl_plugin.environment import environment
from recipes.verl_plugin.overrides import refused

_SHOWN = 300

_LOAD_FORMATS = ("auto", "dummy", "safetensors")
"""Others are for weights that no trainer writes; the loaded weights are replaced by the trainer's before step 1."""

_BLOCKS = (8, 16, 32, 64, 128, 256)
"""Block sizes of vLLM's cache, in tokens."""

_OF_ENGINE = (
    *("dtype", "load_format", "max_model_len", "max_num_seqs", "enable_chunked_prefill", "seed", "quantization"),
    *("max_num_batched_tokens", "enable_prefix_caching", "logprobs_mode", "enforce_eager", "scheduling_policy"),
    "gpu_memory_utilization",
)
"""Settings of verl's section that are passed to vLLM under the same name (vllm_async_server.py)."""


def try_engine(rollout: DictConfig, experiment: Experiment) -> None:
    """Raise ExperimentError for values that vLLM rejects, and for arguments that are unknown or set elsewhere."""
    place = "actor_rollout_ref.rollout"
    tokens, texts = int(rollout.max_num_batched_tokens), int(rollout.max_num_seqs)
    longest, needed = rollout.max_model_len, int(rollout.prompt_length) + int(rollout.response_length)
    if tokens < texts:
        why = f"{tokens} is less than --max_num_seqs {texts}, but vLLM needs a token per sequence and step"
        raise refused(f"{place}.max_num_batched_tokens", f"{why}; give more, or fewer sequences")
    if not rollout.enable_chunked_prefill and tokens < (longest or needed):
        why = f"{tokens} is less than max_model_len {longest or needed}, but vLLM does not split prompts"
        raise refused(f"{place}.max_num_batched_tokens", f"{why} without enable_chunked_prefill")
    if longest and longest < needed:
        why = f"{longest} is less than the {needed} tokens of prompt and response"
        raise refused(f"{place}.max_model_len", f"{why} (--max_prompt_length, --max_response_length)")
    if rollout.load_format not in _LOAD_FORMATS:
        raise refused(f"{place}.load_format", f"{rollout.load_format} is not one of {', '.join(_LOAD_FORMATS)}")
    block = (rollout.engine_kwargs.get("vllm") or {}).get("block_size")
    if block is not None and block not in _BLOCKS:
        sizes = ", ".join(map(str, _BLOCKS))
        raise refused(f"{place}.engine_kwargs.vllm.block_size", f"{block} is not one of {sizes}")
    elsewhere, arguments = {*rollout, "model", "tokenizer", "tensor_parallel_size"}, _engine_arguments()
    for name in rollout.engine_kwargs.get("vllm") or {}:
        where = f"{place}.engine_kwargs.vllm.{name}"
        if name in elsewhere:
            raise refused(where, f"is set by {place}, or by a flag")
        if name not in arguments:
            raise refused(where, f"vLLM's engine has no such argument{nearest(str(name), arguments)}")
    if is_here(experiment.model, fetch=False) and any(key_of(o).startswith(f"{place}.") for o in experiment.overrides):
        _ask_vllm(rollout, experiment)


def _ask_vllm(rollout: DictConfig, experiment: Experiment) -> None:
    """Raise ExperimentError if vLLM rejects the configuration, which a separate process checks."""
    found: dict[str, Any] = {name: rollout[name] for name in _OF_ENGINE if rollout.get(name) is not None}
    own: Any = OmegaConf.to_container(rollout.engine_kwargs.get("vllm") or OmegaConf.create({}), resolve=True)
    own.pop("worker_extension_cls", None)  # our own, which needs verl's worker
    graphs = OmegaConf.select(rollout, "cudagraph_capture_sizes")
    if graphs:
        found["compilation_config"] = {"cudagraph_capture_sizes": OmegaConf.to_container(graphs)}
    found |= {**own, "model": find_model(experiment.model), "tensor_parallel_size": rollout.tensor_model_parallel_size}
    env = {**os.environ, **environment(experiment, RunDir(Path("run")))}
    command = [sys.executable, "-m", "recipes.verl_plugin.ask_vllm"]
    done = subprocess.run(command, input=json.dumps(found), capture_output=True, text=True, check=False, env=env)
    why = (done.stdout.splitlines() or [""])[-1][:_SHOWN]
    if why:
        raise ExperimentError(f"overrides {' '.join(experiment.overrides)} after --: vLLM rejects them: {why}")


def _engine_arguments() -> set[str]:
    """The fields of vLLM's AsyncEngineArgs, parsed, because an import would take as long as all other checks."""
    found = importlib.util.find_spec("vllm")
    assert found is not None
    assert found.submodule_search_locations is not None
    tree: Any = ast.parse((Path(found.submodule_search_locations[0]) / "engine/arg_utils.py").read_text())
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name.endswith("EngineArgs")]
    fields = [each.target for node in classes for each in node.body if isinstance(each, ast.AnnAssign)]
    return {each.id for each in fields if isinstance(each, ast.Name)}
