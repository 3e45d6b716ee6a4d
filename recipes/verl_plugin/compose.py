"""Merges a run's values, and then the user's overrides, into verl's own configuration."""

import copy
import functools
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import GrammarParseError, InterpolationResolutionError, OmegaConfBaseException

from data_prep.prompt_styles import PLAIN_TEMPLATE, STYLES
from data_prep.tokens import chat_template
from recipes.common.errors import ExperimentError, nearest
from recipes.common.run_dir import RunDir
from recipes.estimate.model_shapes import known_shape
from recipes.flags.config_file import PlainLoader
from recipes.settings.experiment import Experiment
from recipes.verl_plugin.overrides import decided, refuse_decided, refuse_twice, values_of
from recipes.verl_plugin.verl_config import REINFORCEMENT, SUPERVISED, rl_config, sft_config

CONFIG_FILE = "verl.yaml"


def compose_config(base: str, values: dict[str, Any], overrides: list[str]) -> DictConfig:
    """verl's configuration `base` (REINFORCEMENT or SUPERVISED) with our values and then the user's.

    Raises:
        ExperimentError: for an override that is not key=value, or whose key verl does not have.
    """
    config = copy.deepcopy(_verl_defaults(base))
    OmegaConf.set_struct(config, False)
    config = OmegaConf.merge(config, OmegaConf.create(values))
    OmegaConf.set_struct(config, True)
    assert isinstance(config, DictConfig)
    for override in overrides:
        _apply(config, override)
    return config


@functools.cache
def _verl_defaults(base: str) -> DictConfig:
    # By folder, not by module: importing verl takes seconds, and --dry_run needs this too.
    found = importlib.util.find_spec("verl")
    assert found is not None
    assert found.submodule_search_locations is not None
    with initialize_config_dir(str(Path(found.submodule_search_locations[0]) / "trainer/config"), version_base=None):
        return compose(base)


def _apply(config: DictConfig, override: str) -> None:
    """Set one key=value, or add one by +key=value. Raises ExperimentError as `compose_config`."""
    key, equals, text = override.lstrip("+").partition("=")
    if not equals or not key:
        raise ExperimentError(f"override {override!r} after --: write key=value")
    if key.startswith("-"):
        raise ExperimentError(f"override {override!r} after --: flags of run.py go before the --")
    adds, section = override.startswith("+"), key.partition(".")[0]
    if section not in config:
        raise ExperimentError(
            f"override {key!r} after --: verl has no such setting in this stage; it has {', '.join(map(str, config))}"
        )
    OmegaConf.set_struct(config, not adds)
    try:
        value, before = _value(text), OmegaConf.select(config, key)
        if not adds and not _may_become(before, value):
            what = "a section" if OmegaConf.is_config(before) else repr(before)
            raise ExperimentError(f"override {key!r} after --: is {what} here, and cannot become {text!r}")
        OmegaConf.update(config, key, value, force_add=adds)
        OmegaConf.select(config, key)  # resolves its references
    except ExperimentError:
        raise
    except (InterpolationResolutionError, GrammarParseError) as error:
        why = str(error).partition("\n")[0]
        raise ExperimentError(f"override {key!r} after --: {text!r}: {why}") from None
    except (OmegaConfBaseException, AttributeError, TypeError, ValueError, LookupError):
        others = [each for each in _keys(config) if each != key]
        raise ExperimentError(
            f"override {key!r} after --: verl has no such setting{nearest(key, others)} Write +{override} to add one."
        ) from None
    except yaml.YAMLError:
        raise ExperimentError(f"override {override!r} after --: {text!r} is not a value that YAML can read") from None
    finally:
        OmegaConf.set_struct(config, True)


def _value(text: str) -> Any:
    """The value parsed as YAML, with numbers as in --config."""
    return yaml.load(text, PlainLoader)


def _may_become(before: Any, value: Any) -> bool:
    """Whether the value has a fitting type: no text for a switch, no single value for a section."""
    if OmegaConf.is_dict(before):
        return isinstance(value, dict)
    if not isinstance(before, int | float) or value is None or (isinstance(value, str) and "${" in value):
        return True
    return isinstance(value, bool) if isinstance(before, bool) else isinstance(value, int | float)


def split_overrides(experiment: Experiment) -> dict[str, tuple[str, ...]]:
    """The user's overrides for each verl stage of a run, by configuration name: a stage gets all that it knows.

    Raises:
        ExperimentError: for an override that no stage of the run accepts.
    """
    made = _made(experiment)
    configs = {base: compose_config(base, values, []) for base, values in made.items()}
    if not configs:
        raise ExperimentError(
            f"override {experiment.overrides[0]!r} after --: --algo {experiment.algo} on {experiment.data} is trained "
            f"with TRL, so verl's settings do not apply; use the alignment flags (run.py --help)"
        )
    taken: dict[str, list[str]] = {base: [] for base in configs}
    ours = {base: decided(values, critic=values.get("critic", {}).get("enable", True)) for base, values in made.items()}
    before = {base: values_of(config, ours[base]) for base, config in configs.items()}
    refuse_twice(experiment.overrides)
    for override in experiment.overrides:
        section = override.lstrip("+").partition("=")[0].partition(".")[0]
        # A setting belongs to the stages that have its section; if none has, all stages are tried.
        known = any(section in config for config in configs.values())
        refusal: ExperimentError | None = None
        fits = False
        for base, config in configs.items():
            if known and section not in config:
                continue
            try:
                _apply(config, override)
            except ExperimentError as error:
                refusal = error
            else:
                fits = True
                taken[base].append(override)
                refuse_decided(override, ours[base], before[base], values_of(config, ours[base]))
        if not fits and refusal is not None:
            raise refusal
    if REINFORCEMENT in configs:
        _refuse_bypass(experiment, configs[REINFORCEMENT])
        _refuse_other_sampling(configs[REINFORCEMENT])
        _refuse_asynchronous(configs[REINFORCEMENT])
    for base, config in configs.items():
        _refuse_ulysses(base, config, experiment.n_gpu * experiment.nnodes)
    return {base: tuple(overrides) for base, overrides in taken.items()}


def laid_over(experiment: Experiment) -> dict[str, DictConfig]:
    """The configuration of each verl stage of a run with its overrides; file and folder names are placeholders.

    Raises:
        ExperimentError: as `split_overrides`.
    """
    taken = split_overrides(experiment)
    return {base: compose_config(base, values, list(taken[base])) for base, values in _made(experiment).items()}


def _made(experiment: Experiment) -> dict[str, dict[str, Any]]:
    """The values that a run itself sets in the configuration of each verl stage."""
    placeholders: dict[str, Any] = {
        "run": RunDir(Path("run")),
        "model": experiment.model,
        "train_file": Path("train.parquet"),
        "test_file": Path("test.parquet"),
        "resume_from": None,
    }
    return {
        base: make(experiment, **placeholders)
        for stage, base, make in (("sft", SUPERVISED, sft_config), ("rl", REINFORCEMENT, rl_config))
        if stage in experiment.stages
    }


def _refuse_bypass(experiment: Experiment, config: DictConfig) -> None:
    """Raise ExperimentError if bypass mode would need the engine's log-probs of tokens that it did not generate."""
    algorithm = experiment.algorithm
    given = algorithm.uses_hints and not algorithm.hints_in_prompt
    if given and config.algorithm.rollout_correction.bypass_mode:
        raise ExperimentError(
            f"override 'algorithm.rollout_correction.bypass_mode' after --: responses of --algo {algorithm.name} "
            f"contain hint tokens, for which the engine has no log-probs; use --rollout_correction token"
        )


def _refuse_other_sampling(config: DictConfig) -> None:
    """Raise ExperimentError for sampling that depends on which rollouts end first, or breaks --dynamic_sampling."""
    if config.algorithm.filter_groups.enable:
        raise ExperimentError(
            "override 'algorithm.filter_groups.enable' after --: a resumed run would train on different prompts; use "
            "--dynamic_sampling"
        )
    if not config.uft.dynamic_sampling:
        return
    model = config.reward.reward_model
    if model.enable and not model.enable_resource_pool:
        raise ExperimentError("override 'reward.reward_model.enable' after --: incompatible with --dynamic_sampling")


def _refuse_asynchronous(config: DictConfig) -> None:
    """Raise ExperimentError for verl's asynchronous modes: our trainer is synchronous and would ignore them."""
    if (mode := config.trainer.v1.trainer_mode) != "sync":
        raise ExperimentError(
            f"override 'trainer.v1.trainer_mode' after --: {mode} starts rollouts of later steps during a step. A "
            f"resumed run would assign those in flight to other steps, so their hints would be redrawn, with the "
            f"schedule of a step whose weights they never saw; leave it at sync"
        )


def _refuse_ulysses(base: str, config: DictConfig, devices: int) -> None:
    """Raise ExperimentError if sequences are split over ranks with an attention that verl does not patch, or over a
    number of ranks that does not divide devices or heads. Policy, reference and critic each have the setting, some of
    them twice."""
    model = config.model if base == SUPERVISED else config.actor_rollout_ref.model
    shape = known_shape(model.path)
    for key in (each for each in _keys(config) if each.endswith("ulysses_sequence_parallel_size")):
        size = OmegaConf.select(config, key)
        if not isinstance(size, int):
            raise ExperimentError(f"override {key!r} after --: {size} is not an integer number of ranks, such as 1")
        if size == 1:
            continue
        if size < 1 or devices % size:
            raise ExperimentError(f"override {key!r} after --: {size} does not divide the {devices} devices")
        if model.override_config.attn_implementation != "flash_attention_2":
            raise ExperimentError(
                f"override {key!r} after --: splitting sequences over {size} ranks requires flash-attention, without "
                f"which each rank would attend only to its own part: ./install.sh --flash-attn"
            )
        if shape is not None and (uneven := shape.uneven_heads(size)):
            raise ExperimentError(f"override {key!r} after --: {size} ranks do not divide the {uneven} of {model.path}")


def refuse_broken_flash_attention() -> None:
    """Raise ExperimentError if flash-attn is installed but broken: the run would fail when the model loads."""
    from transformers.utils import is_flash_attn_2_available

    why = "transformers does not accept it as flash-attention 2 on this machine"
    try:
        works = is_flash_attn_2_available()
        if works:
            importlib.import_module("flash_attn.bert_padding")
    except (ImportError, OSError) as error:
        works, why = False, f"{type(error).__name__}: {error}"
    if not works:
        raise ExperimentError(
            f"flash-attn does not work here ({why}): build it for this torch (./install.sh --flash-attn), or remove "
            f"it: .venv/bin/python -m pip uninstall flash-attn"
        )


def load_config(base: str, folder: Path, overrides: list[str]) -> DictConfig:
    """`compose_config` with the values that `launch` wrote to folder/verl.yaml."""
    from transformers import AutoTokenizer

    values = yaml.safe_load((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    config = compose_config(base, values, overrides)
    style = STYLES[values["uft"]["prompt_style"]]
    model = config.model if base == SUPERVISED else config.actor_rollout_ref.model
    source, trusted = model.path, bool(model.get("trust_remote_code", False))
    if model.override_config.attn_implementation == "flash_attention_2":
        refuse_broken_flash_attention()
    if config.data.apply_chat_template_kwargs.chat_template in (None, PLAIN_TEMPLATE):
        try:
            template = chat_template(style, AutoTokenizer.from_pretrained(source, trust_remote_code=trusted))
        except ValueError as error:
            raise ExperimentError(str(error)) from None
        config.data.apply_chat_template_kwargs.chat_template = template
    if base != SUPERVISED:
        # The shared-memory buffer that transfers weights to vLLM must hold the largest of them.
        engine = config.actor_rollout_ref.rollout.checkpoint_engine
        largest = largest_weight_mib(source, trusted)
        engine.update_weights_bucket_megabytes = max(engine.update_weights_bucket_megabytes, largest)
    return config


def largest_weight_mib(model: str, trust_remote_code: bool = False) -> int:
    """MiB (2^20 bytes), rounded up, of a model's largest weight in float32, as verl sends it; loads no weights."""
    shape = without_weights(model, trust_remote_code)
    return -(-4 * max(weight.numel() for weight in shape.parameters()) // 2**20)


def without_weights(model: str, trust_remote_code: bool = False) -> Any:
    """A model as verl would create it, with weights on the meta device."""
    import torch
    from transformers import AutoConfig
    from verl.utils.model import get_hf_auto_model_class

    config = AutoConfig.from_pretrained(model, trust_remote_code=trust_remote_code)
    with torch.device("meta"):
        return get_hf_auto_model_class(config).from_config(config, trust_remote_code=trust_remote_code)


def arguments() -> tuple[Path, list[str]]:
    """Folder and overrides from the command line of an entry point."""
    return Path(sys.argv[1]), sys.argv[2:]


def _keys(config: Any, prefix: str = "") -> list[str]:
    found: list[str] = []
    for key in config:
        name = f"{prefix}{key}"
        found.append(name)
        child = config._get_node(key)
        if OmegaConf.is_dict(child) and not child._is_none():
            found.extend(_keys(child, f"{name}."))
    return found
