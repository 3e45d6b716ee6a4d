"""How published weights were trained: a small file next to them that says how to prompt the model.

The name of a folder ("last", or a hash in the hub cache) does not say whether it was trained on chat prompts.
"""

import json
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

TRAINING_RECORD = "unified_ft.json"
_EXPERIMENT = "experiment.yaml"


@dataclass(frozen=True)
class TrainingRecord:
    """What an evaluation or a later stage needs to know about the training."""

    algo: str
    """Algorithm that trained the weights."""

    data: str
    """Training data."""

    base_model: str
    """Model that the run started from."""

    prompt_style: str
    """Name of the prompt style in data_prep/prompt_styles.py."""

    max_prompt_length: int
    """Maximum prompt length in tokens."""

    max_response_length: int
    """Maximum number of generated tokens."""


def read_record(weights: Path) -> tuple[TrainingRecord, Path] | None:
    """The training record of a weights folder, or of the run that contains it, and the file it came from; or None."""
    own = weights / TRAINING_RECORD
    if own.is_file():
        found = _record(json.loads(own.read_text(encoding="utf-8")))
        return None if found is None else (found, own)
    # hf/best, or checkpoints/global_step_N/actor/huggingface, of a run that predates this file.
    for folder in (weights, *weights.resolve().parents[:4]):
        file = folder / _EXPERIMENT
        if file.is_file():
            try:
                saved = yaml.safe_load(file.read_text(encoding="utf-8"))
            except (yaml.YAMLError, ValueError):
                return None
            found = _record({**saved, "base_model": saved.get("model")}) if isinstance(saved, dict) else None
            return None if found is None else (found, file)
    return None


def _record(values: dict[str, Any]) -> TrainingRecord | None:
    known = {field.name: values.get(field.name) for field in fields(TrainingRecord)}
    return None if None in known.values() else TrainingRecord(**known)  # type: ignore[arg-type]


def model_name(model: str) -> str:
    """A model's familiar name: its folder's, or in a hub cache (models--owner--name/snapshots/hash) the hub's."""
    cached = re.search(r"(?:^|/)models--[^/]+--([^/]+)", model)
    return cached[1] if cached else Path(model).name
