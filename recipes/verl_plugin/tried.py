"""Overrides as verl and vLLM will read them, tried before a run has started anything: their own checks, on one line."""

import ast
import contextlib
import importlib
import importlib.util
import inspect
import io
import logging
import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from recipes.common.errors import ExperimentError, nearest
from recipes.data.stored_tokenizer import is_here
from recipes.settings.experiment import Experiment
from recipes.verl_plugin.compose import laid_over, refuse_broken_flash_attention, without_weights
from recipes.verl_plugin.verl_config import REINFORCEMENT, ray_cpus

_SHOWN = 300

_OPTIMIZER = {
    "clip_grad": (0.0, None),
    "lr_warmup_steps_ratio": (0.0, 1.0),
    "min_lr_ratio": (0.0, 1.0),
    "weight_decay": (0.0, None),
}
"""Least and largest of an optimizer's numbers, where torch would take others: a negative clip_grad turns the gradient
around."""

_LEAST = {
    "actor_rollout_ref.rollout.agent.num_workers": 1,
    "actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes": 1,
    "data.filter_overlong_prompts_workers": 1,
    "data.max_response_length": 1,
    "ray_kwargs.ray_init.object_store_memory": 80_000_000,
    "reward.num_workers": 1,
}
"""Least of what a stage of reinforcement starts; Ray waits for ever for what cannot be."""

_ENGINE_DTYPES = ("auto", "bfloat16", "float", "float16", "float32", "half")
_ATTENTION = ("eager", "sdpa", "flash_attention_2")
_LOAD_FORMATS = ("auto", "dummy", "hf", "pt", "safetensors")


def try_overrides(experiment: Experiment) -> None:
    """Raise ExperimentError for what verl or vLLM would refuse of the user's overrides. It imports verl, which takes
    seconds; without overrides it does nothing."""
    if not experiment.overrides or not {"sft", "rl"} & {*experiment.stages}:
        return
    ranks = experiment.n_gpu * experiment.nnodes
    for base, config in laid_over(experiment).items():
        with _told(experiment.overrides):
            if base == REINFORCEMENT:
                _try_reinforcement(config, ranks)
            else:
                _try_optimizer("optim", config.optim)
                _try_model("model", config.model)
                _try_fsdp("engine", config.engine, ranks)


def _try_reinforcement(config: DictConfig, ranks: int) -> None:
    from verl.utils.config import omega_conf_to_dataclass

    from recipes.verl_plugin.main import checked_config

    for key, least in _LEAST.items():
        value = OmegaConf.select(config, key)
        if value is not None and value < least:
            raise _refused(key, f"{value} must be at least {least}")
    _try_ray(config, ranks)
    file = config.actor_rollout_ref.rollout.agent.agent_loop_config_path
    if file and not Path(file).is_file():
        raise _refused("actor_rollout_ref.rollout.agent.agent_loop_config_path", f"there is no file {file}")
    actor = config.actor_rollout_ref.actor
    _try_engine(config.actor_rollout_ref.rollout)
    _try_optimizer("actor_rollout_ref.actor.optim", actor.optim)
    _try_fsdp("actor_rollout_ref.actor.fsdp_config", actor.fsdp_config, ranks)
    _try_model("actor_rollout_ref.model", config.actor_rollout_ref.model)
    if config.critic.enable:
        _try_optimizer("critic.optim", config.critic.optim)
        _try_fsdp("critic.fsdp", config.critic.fsdp, ranks)
    for part in (actor, config.actor_rollout_ref.rollout, config.algorithm):
        omega_conf_to_dataclass(part)
    checked_config(config)


def _refused(key: str, why: str) -> ExperimentError:
    return ExperimentError(f"override {key!r} after --: {why}")


@contextmanager
def _told(overrides: Sequence[str]) -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except ExperimentError:
        raise
    except Exception as error:  # whatever verl's, torch's and hydra's checks raise
        cause: BaseException = error
        while cause.__cause__ is not None or cause.__context__ is not None:
            cause = cause.__cause__ or cause.__context__ or cause
        asserted = traceback.extract_tb(cause.__traceback__)[-1].line
        said = " ".join((str(cause) or asserted or type(cause).__name__).split())[:_SHOWN]
        raise ExperimentError(f"overrides {' '.join(overrides)} after --: verl does not take them: {said}") from None
    finally:
        logging.disable(before)


def _try_ray(config: DictConfig, ranks: int) -> None:
    import ray

    given = config.ray_kwargs.ray_init
    known = inspect.signature(ray.init).parameters
    if strange := next((name for name in given if name not in known), None):
        raise _refused(f"ray_kwargs.ray_init.{strange}", f"ray.init has no such argument{nearest(str(strange), known)}")
    least = ray_cpus(config.trainer.n_gpus_per_node)
    if given.num_cpus is not None and given.num_cpus < least:
        raise _refused(
            "ray_kwargs.ray_init.num_cpus",
            f"with {given.num_cpus} the run's processes would wait: give {least} or more",
        )


def _try_fsdp(where: str, section: DictConfig, ranks: int) -> None:
    from verl.utils.torch_dtypes import PrecisionType

    size = section.fsdp_size
    if size != -1 and (size < 1 or ranks % size):
        raise _refused(f"{where}.fsdp_size", f"{size} does not divide the {ranks} device(s); -1 is all of them")
    for name in ("model_dtype", "dtype"):
        if (value := section.get(name)) is not None:
            try:
                PrecisionType.to_dtype(value)
            except RuntimeError:
                raise _refused(f"{where}.{name}", f"{value} is no type of numbers: bf16, fp16 or fp32") from None


def _try_optimizer(where: str, section: DictConfig) -> None:
    """Build it for one number."""
    import torch
    from verl.utils.config import omega_conf_to_dataclass
    from verl.workers.config.optimizer import build_optimizer

    for name, (low, high) in _OPTIMIZER.items():
        value = section.get(name)
        if value is not None and not (low <= value and (high is None or value <= high)):
            most = "" if high is None else f" and at most {high:g}"
            raise _refused(f"{where}.{name}", f"{value} must be at least {low:g}{most}")
    settings = omega_conf_to_dataclass(section)
    name, module = settings.optimizer, settings.optimizer_impl
    try:
        there = importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        there = False
    if not there:
        raise _refused(f"{where}.optimizer_impl", f"there is no module {module} here")
    known = vars(importlib.import_module(module))
    if not isinstance(known.get(name), type):
        listed = [each for each, value in known.items() if isinstance(value, type)]
        raise _refused(f"{where}.optimizer", f"{module} has no optimizer {name}{nearest(name, listed)}")
    weight = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = build_optimizer([weight], settings)
    weight.grad = torch.ones(2, 2)
    optimizer.step()


def _try_model(where: str, model: DictConfig) -> None:
    attention = model.override_config.get("attn_implementation")
    if attention is not None and attention not in _ATTENTION:
        why = f"verl has no attention {attention}; one of {', '.join(_ATTENTION)}"
        raise _refused(f"{where}.override_config.attn_implementation", why)
    if attention == "flash_attention_2":
        refuse_broken_flash_attention()
    if model.get("use_liger") and importlib.util.find_spec("liger_kernel") is None:
        install = ".venv/bin/python -m pip install liger-kernel"
        raise _refused(f"{where}.use_liger", f"the package liger-kernel is not installed: {install}")
    targets = model.get("target_modules")
    if not model.lora_rank or targets in (None, "all-linear") or not is_here(model.path, fetch=False):
        return
    names = [name for name, _ in without_weights(model.path, bool(model.get("trust_remote_code"))).named_modules()]
    wanted = [targets] if isinstance(targets, str) else [rf"(.*\.)?{re.escape(each)}" for each in targets]
    for pattern, given in zip(wanted, [targets] if isinstance(targets, str) else targets, strict=True):
        if not any(re.fullmatch(pattern, name) for name in names):
            ends = sorted({name.rpartition(".")[2] for name in names if name})
            raise _refused(f"{where}.target_modules", f"no module of the model is called {given}: {', '.join(ends)}")


def _try_engine(rollout: DictConfig) -> None:
    """What vLLM refuses of its numbers, and arguments it does not have, or that stand elsewhere."""
    place = "actor_rollout_ref.rollout"
    tokens, texts = int(rollout.max_num_batched_tokens), int(rollout.max_num_seqs)
    longest, needed = rollout.max_model_len, int(rollout.prompt_length) + int(rollout.response_length)
    if tokens < texts:
        why = f"{tokens} is less than --max_num_seqs {texts}, and vLLM gives every sequence a token a step"
        raise _refused(f"{place}.max_num_batched_tokens", f"{why}; give more, or fewer sequences")
    if not rollout.enable_chunked_prefill and tokens < (longest or needed):
        why = f"{tokens} is less than the {longest or needed} tokens of a sequence, and prompts go through vLLM whole"
        raise _refused(f"{place}.max_num_batched_tokens", f"{why} without enable_chunked_prefill")
    if longest and longest < needed:
        why = f"{longest} is less than the {needed} tokens of prompt and response"
        raise _refused(f"{place}.max_model_len", f"{why} (--max_prompt_length, --max_response_length)")
    for name, known in (("dtype", _ENGINE_DTYPES), ("load_format", _LOAD_FORMATS)):
        if rollout[name] not in known:
            raise _refused(f"{place}.{name}", f"vLLM does not know {rollout[name]}; one of {', '.join(known)}")
    elsewhere, arguments = {*rollout, "model", "tokenizer", "tensor_parallel_size"}, _engine_arguments()
    for name in rollout.engine_kwargs.get("vllm") or {}:
        where = f"{place}.engine_kwargs.vllm.{name}"
        if name in elsewhere:
            raise _refused(where, f"vLLM is given that by {place}, or by a flag")
        if name not in arguments:
            raise _refused(where, f"vLLM's engine has no such argument{nearest(str(name), arguments)}")


def _engine_arguments() -> set[str]:
    """The fields of vLLM's AsyncEngineArgs, read and not imported, which would take as long as all else here."""
    found = importlib.util.find_spec("vllm")
    assert found is not None
    assert found.submodule_search_locations is not None
    tree: Any = ast.parse((Path(found.submodule_search_locations[0]) / "engine/arg_utils.py").read_text())
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name.endswith("EngineArgs")]
    fields = [each.target for node in classes for each in node.body if isinstance(each, ast.AnnAssign)]
    return {each.id for each in fields if isinstance(each, ast.Name)}
