"""Base-model files kept with trained weights: tokenizer, chat templates and generation settings."""

import shutil
from pathlib import Path

from recipes.common.training_record import TRAINING_RECORD

_KINDS = {".json", ".jinja", ".txt", ".model", ".py", ".v3", ".tiktoken"}
_TEMPLATES = "additional_chat_templates"
# Written by training.
_OURS = {"config.json", "generation_config.json", TRAINING_RECORD}


def keep_own_files(base: str, weights: Path) -> None:
    """Copy the base model's files into a folder of weights, byte for byte, replacing what training saved.

    Trainers modify their tokenizer (padding, templates); saving it would pass that on to every user.

    Args:
        base: folder or hub name (already in the local cache) of the base model.
    """
    from transformers.utils.hub import cached_file

    config = cached_file(base, "config.json")
    assert config is not None
    origin = Path(config).parent
    for saved in _own(weights):
        if saved.name not in _OURS:
            saved.unlink()
    for source in _own(origin):
        if source.name not in _OURS - {"generation_config.json"}:
            target = weights / source.relative_to(origin)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, target)


def _own(folder: Path) -> list[Path]:
    """A model's small files, without weights, their index, model cards and files trainers leave."""
    found = [file for file in folder.iterdir() if file.suffix in _KINDS and not file.name.endswith(".index.json")]
    found += (folder / _TEMPLATES).glob("*.jinja")
    left = ("trainer_", "training_", "adapter_", "card")
    return [file for file in found if file.is_file() and not file.name.startswith(left)]
