"""Experiments and models whose memory and time are estimated."""

import json
from pathlib import Path
from typing import Any

import pytest

from recipes.flags.resolve import build_experiment
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import profile_named

PAIRS: dict[str, Any] = {"algo": "dpo", "data": "countdown_preference"}
OF_8B = {
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}


def on(profile: str, **flags: object) -> Experiment:
    return build_experiment(dict(flags), profile_named(profile))


def in_the_cache(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, **config: object) -> None:
    """A config.json in the hub's local cache, as a start leaves it there."""
    import huggingface_hub

    file = folder / "config.json"
    file.write_text(json.dumps(config))
    found = {(name, "config.json"): str(file)}
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *asked: found.get(asked))
