"""Files of a base model that weights trained from it keep: its tokenizer, chat template and generation settings."""

import shutil
from pathlib import Path

_GENERATION = "generation_config.json"
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "chat_template.jinja",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)


def keep_own_files(base: str, weights: Path) -> None:
    """Put the base model's files into a folder of weights, byte for byte, in place of what training saved.

    Trainers adjust their tokenizer (padding, templates), and saving it would hand that on to everyone.

    Args:
        base: folder or hub name (in the local cache by now) of the base model.
    """
    from transformers.utils.hub import cached_file

    for name in (*_TOKENIZER_FILES, _GENERATION):
        own = cached_file(
            base, name, _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False
        )
        if own is not None:
            shutil.copyfile(own, weights / name)
        elif name != _GENERATION:
            (weights / name).unlink(missing_ok=True)
