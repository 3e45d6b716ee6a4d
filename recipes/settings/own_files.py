"""Files of a base model that weights trained from it keep: its tokenizer, chat templates and generation settings."""

import shutil
from pathlib import Path

from recipes.common.training_record import TRAINING_RECORD

_KINDS = {".json", ".jinja", ".txt", ".model", ".py", ".v3", ".tiktoken"}
_TEMPLATES = "additional_chat_templates"
# What training writes anew.
_OURS = {"config.json", "generation_config.json", TRAINING_RECORD}


def keep_own_files(base: str, weights: Path) -> None:
    """Put the base model's files into a folder of weights, byte for byte, in place of what training saved.

    Trainers adjust their tokenizer (padding, templates), and saving it would hand that on to everyone.

    Args:
        base: folder or hub name (in the local cache by now) of the base model.
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
    """The small files of a model: neither weights nor their index, a card, or what a trainer left beside them."""
    found = [file for file in folder.iterdir() if file.suffix in _KINDS and not file.name.endswith(".index.json")]
    found += (folder / _TEMPLATES).glob("*.jinja")
    left = ("trainer_", "training_", "adapter_", "card")
    return [file for file in found if file.is_file() and not file.name.startswith(left)]
