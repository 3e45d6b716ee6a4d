"""Lays a run's values over verl's own configuration files, and the user's overrides over both."""

import sys
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from transformers import AutoTokenizer

from data_prep.prompt_styles import STYLES
from recipes.experiment import ExperimentError, nearest

CONFIG_FILE = "verl.yaml"


def compose_config(base: str, values: dict[str, Any], overrides: list[str]) -> DictConfig:
    """verl's configuration `base` ("ppo_trainer", "sft_trainer_engine") with our values and then the user's.

    Raises:
        ExperimentError: for an override that is not key=value, or whose key verl does not have.
    """
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose(base)
    OmegaConf.set_struct(config, False)
    config = OmegaConf.merge(config, OmegaConf.create(values))
    OmegaConf.set_struct(config, True)
    for override in overrides:
        key, equals, text = override.lstrip("+").partition("=")
        if not equals:
            raise ExperimentError(f"override {override!r} after --: write key=value")
        if override.startswith("+"):
            OmegaConf.set_struct(config, False)
        try:
            OmegaConf.update(config, key, yaml.safe_load(text), force_add=override.startswith("+"))
        except (OmegaConfBaseException, AttributeError):
            known = list(_keys(config))
            raise ExperimentError(
                f"override {key!r} after --: verl has no such setting{nearest(key, known)} "
                f"Write +{override} to add one."
            ) from None
        OmegaConf.set_struct(config, True)
    assert isinstance(config, DictConfig)
    return config


def load_config(base: str, folder: Path, overrides: list[str]) -> DictConfig:
    """`compose_config` with the values launch wrote to folder/verl.yaml."""
    values = yaml.safe_load((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    config = compose_config(base, values, overrides)
    style = STYLES[values["uft"]["prompt_style"]]
    if style.chat:
        model = config.model if base.startswith("sft") else config.actor_rollout_ref.model
        try:
            model.custom_chat_template = style.template(AutoTokenizer.from_pretrained(model.path).chat_template)
        except ValueError as error:
            raise ExperimentError(str(error)) from None
    return config


def arguments() -> tuple[Path, list[str]]:
    """Folder and overrides from the command line of an entry module."""
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
