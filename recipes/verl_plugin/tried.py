"""Checks overrides with verl's and vLLM's own validation before a run starts; errors become one line."""

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

from omegaconf import DictConfig, OmegaConf

from recipes.common.errors import ExperimentError, nearest
from recipes.common.machine import main_memory
from recipes.data.stored_tokenizer import is_here
from recipes.estimate.machine_needs import ray_cpus
from recipes.settings.experiment import Experiment
from recipes.verl_plugin.compose import laid_over, refuse_broken_flash_attention, without_weights
from recipes.verl_plugin.overrides import refused
from recipes.verl_plugin.tried_engine import try_engine
from recipes.verl_plugin.verl_config import REINFORCEMENT

_SHOWN = 300

_OPTIMIZER = {
    "clip_grad": (0.0, None),
    "lr_warmup_steps_ratio": (0.0, 1.0),
    "min_lr_ratio": (0.0, 1.0),
    "weight_decay": (0.0, None),
}
"""Ranges of optimizer settings for which torch accepts invalid values: a negative clip_grad reverses the gradient."""

_LEAST = {
    "actor_rollout_ref.rollout.agent.num_workers": 1,
    "actor_rollout_ref.rollout.top_k": -1,
    "critic.ppo_epochs": 1,
    "actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes": 1,
    "data.filter_overlong_prompts_workers": 1,
    "data.max_response_length": 1,
    "ray_kwargs.ray_init.object_store_memory": 80_000_000,
    "reward.num_workers": 1,
}
"""Minimal values of what a reinforcement stage starts; Ray hangs if these cannot be satisfied."""

_MOST = {"actor_rollout_ref.rollout.top_p": 1.0, "actor_rollout_ref.rollout.val_kwargs.top_p": 1.0}
_ABOVE = {"actor_rollout_ref.rollout.top_p": 0.0, "actor_rollout_ref.rollout.repetition_penalty": 0.0}

_MEANS = ("token-mean", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm")
"""verl's aggregations of a loss."""

_ATTENTION = ("eager", "sdpa", "flash_attention_2")
_READ = (
    *("attention_dropout", "attn_implementation", "hidden_dropout", "max_position_embeddings", "output_router_logits"),
    *("rope_scaling", "rope_theta", "router_aux_loss_coef", "sliding_window", "use_cache"),
)
"""Settings of a model's configuration that may be changed for the same weights."""


def try_overrides(experiment: Experiment) -> None:
    """Raise ExperimentError for overrides that verl or vLLM would reject. If there are any, it imports verl, which
    takes seconds."""
    if not experiment.overrides or not {"sft", "rl"} & {*experiment.stages}:
        return
    ranks = experiment.n_gpu * experiment.nnodes
    for base, config in laid_over(experiment).items():
        with _errors_on_one_line(experiment.overrides):
            if base == REINFORCEMENT:
                _try_reinforcement(config, experiment, ranks)
            else:
                _try_optimizer("optim", config.optim)
                _try_model("model", config.model)
                _try_fsdp("engine", config.engine, ranks)


def _try_reinforcement(config: DictConfig, experiment: Experiment, ranks: int) -> None:
    from verl.utils.config import omega_conf_to_dataclass

    from recipes.verl_plugin.main import checked_config

    for key in (*_LEAST, *_ABOVE, *_MOST):
        value = OmegaConf.select(config, key)
        if value is None:
            continue
        if key in _LEAST and (value < _LEAST[key] or value != int(value)):
            raise refused(key, f"{value} must be at least {_LEAST[key]}, and an integer")
        if key in _ABOVE and value <= _ABOVE[key]:
            raise refused(key, f"{value} must be above {_ABOVE[key]:g}")
        if key in _MOST and value > _MOST[key]:
            raise refused(key, f"{value} must be at most {_MOST[key]:g}")
    if (mode := config.critic.loss_agg_mode) not in _MEANS:
        raise refused("critic.loss_agg_mode", f"{mode} is not one of {', '.join(_MEANS)}")
    _try_ray(config)
    file = config.actor_rollout_ref.rollout.agent.agent_loop_config_path
    if file and not Path(file).is_file():
        raise refused("actor_rollout_ref.rollout.agent.agent_loop_config_path", f"there is no file {file}")
    actor = config.actor_rollout_ref.actor
    try_engine(config.actor_rollout_ref.rollout, experiment)
    _try_optimizer("actor_rollout_ref.actor.optim", actor.optim)
    _try_fsdp("actor_rollout_ref.actor.fsdp_config", actor.fsdp_config, ranks)
    _try_fsdp("actor_rollout_ref.ref.fsdp_config", config.actor_rollout_ref.ref.fsdp_config, ranks)
    _try_model("actor_rollout_ref.model", config.actor_rollout_ref.model)
    if config.critic.enable:
        _try_optimizer("critic.optim", config.critic.optim)
        _try_fsdp("critic.fsdp", config.critic.fsdp, ranks)
    for part in (actor, config.actor_rollout_ref.rollout, config.algorithm):
        omega_conf_to_dataclass(part)
    checked_config(config)


@contextmanager
def _errors_on_one_line(overrides: Sequence[str]) -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except ExperimentError:
        raise
    except Exception as error:  # whatever the checks of verl, torch and hydra raise
        cause: BaseException = error
        while cause.__cause__ is not None or cause.__context__ is not None:
            cause = cause.__cause__ or cause.__context__ or cause
        asserted = traceback.extract_tb(cause.__traceback__)[-1].line
        why = " ".join((str(cause) or asserted or type(cause).__name__).split())[:_SHOWN]
        raise ExperimentError(f"overrides {' '.join(overrides)} after --: verl rejects them: {why}") from None
    finally:
        logging.disable(before)


def _try_ray(config: DictConfig) -> None:
    import ray

    given = config.ray_kwargs.ray_init
    known = inspect.signature(ray.init).parameters
    if unknown := next((name for name in given if name not in known), None):
        raise refused(f"ray_kwargs.ray_init.{unknown}", f"ray.init has no such argument{nearest(str(unknown), known)}")
    store, there = given.get("object_store_memory"), main_memory()
    if store is not None and there is not None and store > there:
        why = f"{store} is more than the {there} bytes of main memory"
        raise refused("ray_kwargs.ray_init.object_store_memory", why)
    least = ray_cpus(config.trainer.n_gpus_per_node)
    if given.num_cpus is not None and given.num_cpus < least:
        why = f"with {given.num_cpus} the run's processes would wait forever: use {least} or more"
        raise refused("ray_kwargs.ray_init.num_cpus", why)


def _try_fsdp(where: str, section: DictConfig, ranks: int) -> None:
    from verl.utils.torch_dtypes import PrecisionType

    size = section.fsdp_size
    if size != -1 and (size < 1 or ranks % size):
        raise refused(f"{where}.fsdp_size", f"{size} does not divide the {ranks} device(s); -1 means all")
    mixed = section.get("mixed_precision") or {}
    types = {name: section.get(name) for name in ("model_dtype", "dtype")}
    types |= {f"mixed_precision.{name}": value for name, value in mixed.items() if name.endswith("dtype")}
    for name, value in types.items():
        if value is not None:
            try:
                PrecisionType.to_dtype(value)
            except RuntimeError:
                raise refused(f"{where}.{name}", f"{value} is not a dtype: bf16, fp16 or fp32") from None


def _try_optimizer(where: str, section: DictConfig) -> None:
    """Build the optimizer for two small weights and make one step."""
    import torch
    from verl.utils.config import omega_conf_to_dataclass
    from verl.workers.config.optimizer import build_optimizer

    for name, (low, high) in _OPTIMIZER.items():
        value = section.get(name)
        if value is not None and not (low <= value and (high is None or value <= high)):
            most = "" if high is None else f" and at most {high:g}"
            raise refused(f"{where}.{name}", f"{value} must be at least {low:g}{most}")
    settings = omega_conf_to_dataclass(section)
    name, module = settings.optimizer, settings.optimizer_impl
    try:
        there = importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        there = False
    if not there:
        raise refused(f"{where}.optimizer_impl", f"no module {module} is installed")
    known = vars(importlib.import_module(module))
    if not isinstance(known.get(name), type):
        listed = [each for each, value in known.items() if isinstance(value, type)]
        raise refused(f"{where}.optimizer", f"{module} has no optimizer {name}{nearest(name, listed)}")
    weights = [torch.nn.Parameter(torch.ones(shape)) for shape in ((2, 2), (2,))]
    optimizer = build_optimizer(weights, settings)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer.step()


def _try_model(where: str, model: DictConfig) -> None:
    if unknown := next((name for name in model.override_config if name not in _READ), None):
        why = f"would change the model itself; must be one of {', '.join(_READ)}"
        raise refused(f"{where}.override_config.{unknown}", why)
    attention = model.override_config.get("attn_implementation")
    if attention is not None and attention not in _ATTENTION:
        why = f"verl has no attention {attention}; must be one of {', '.join(_ATTENTION)}"
        raise refused(f"{where}.override_config.attn_implementation", why)
    if attention == "flash_attention_2":
        refuse_broken_flash_attention()
    if model.get("use_liger") and importlib.util.find_spec("liger_kernel") is None:
        install = ".venv/bin/python -m pip install liger-kernel"
        raise refused(f"{where}.use_liger", f"the package liger-kernel is not installed: {install}")
    targets = model.get("target_modules")
    if not model.lora_rank or targets in (None, "all-linear") or not is_here(model.path, fetch=False):
        return
    names = [name for name, _ in without_weights(model.path, bool(model.get("trust_remote_code"))).named_modules()]
    wanted = [targets] if isinstance(targets, str) else [rf"(.*\.)?{re.escape(each)}" for each in targets]
    for pattern, given in zip(wanted, [targets] if isinstance(targets, str) else targets, strict=True):
        if not any(re.fullmatch(pattern, name) for name in names):
            ends = sorted({name.rpartition(".")[2] for name in names if name})
            raise refused(f"{where}.target_modules", f"the model has no module {given}, only {', '.join(ends)}")
