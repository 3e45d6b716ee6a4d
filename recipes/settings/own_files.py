"""The base model's files that trained weights keep: tokenizer, chat templates and generation settings."""

import shutil
from pathlib import Path

from recipes.common.training_record import TRAINING_RECORD

_KINDS = {".json", ".jinja", ".txt", ".model", ".py", ".v3", ".tiktoken"}
_TEMPLATES = "additional_chat_templates"
# Written by training.
_WRITTEN = {"config.json", "generation_config.json", TRAINING_RECORD}


def keep_own_files(base: str, weights: Path) -> None:
    """Replace the files that training saved in a folder of weights with the base model's, byte for byte.

    Trainers modify their tokenizer (padding, templates); the published one should not inherit that.

    Args:
        base: folder or Hub name (already in the local cache) of the base model.
    """
    from transformers.utils.hub import cached_file

    config = cached_file(base, "config.json")
    assert config is not None
    origin = Path(config).parent
    for saved in _own(weights):
        if saved.name not in _WRITTEN:
            saved.unlink()
    for source in _own(origin):
        if source.name not in _WRITTEN - {"generation_config.json"}:
            target = weights / source.relative_to(origin)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, target)


def _own(folder: Path) -> list[Path]:
    """The small files of a model: no weights or their index, no model card, no trainer files."""
    found = [file for file in folder.iterdir() if file.suffix in _KINDS and not file.name.endswith(".index.json")]
    found += (folder / _TEMPLATES).glob("*.jinja")
    left = ("trainer_", "training_", "adapter_", "card")
    return [file for file in found if file.is_file() and not file.name.startswith(left)]
