"""A model's tokenizer for the checks before a run: read with the tokenizers library alone, since importing transformers
takes seconds and --dry_run must answer at once."""

import json
import time
from pathlib import Path
from typing import Any

from data_prep.asking_hub import asking_hub
from eval.models import find_model

_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

# If the hub does not answer, it is not asked again for a while: every attempt takes half a minute.
_ASK_AGAIN_S = 60.0
_unanswered_until = [0.0]


class StoredTokenizer:
    """The part of a transformers tokenizer that data_prep/tokens.py uses, except rendering chat templates."""

    chat_template = None

    def __init__(self, file: Path, config: dict[str, Any]) -> None:
        from tokenizers import AddedToken, Tokenizer

        self._backend = Tokenizer.from_file(str(file))
        self.name_or_path = str(file.parent)
        named = {name: _content(config.get(name)) for name in _NAMED}
        stored = (config.get("added_tokens_decoder") or {}).values()
        special = [token["content"] for token in stored if token.get("special")]
        extra = config.get("extra_special_tokens") or config.get("additional_special_tokens") or []
        special += [_content(token) for token in (extra.values() if isinstance(extra, dict) else extra)]
        special += [text for text in named.values() if text]
        self._backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
        self.added_tokens_decoder: dict[int, Any] = self._backend.get_added_tokens_decoder()
        for name, text in named.items():
            setattr(self, f"{name}_id", self._backend.token_to_id(text) if text else None)

    def __call__(
        self, text: str, add_special_tokens: bool = False, split_special_tokens: bool = False
    ) -> dict[str, list[int]]:
        self._backend.encode_special_tokens = split_special_tokens
        return {"input_ids": self._backend.encode(text, add_special_tokens=add_special_tokens).ids}

    def decode(self, ids: list[int], skip_special_tokens: bool = False) -> str:
        """The text of token ids."""
        return str(self._backend.decode(ids, skip_special_tokens=skip_special_tokens))


def stored_tokenizer(model: str, *, fetch: bool) -> StoredTokenizer | None:
    """The tokenizer of a model in a folder or in the local cache of the hub.

    Args:
        fetch: download it if it is not local, as the run itself will.

    Returns:
        None if there is no tokenizer.json; the model's own process reports more about that.
    """
    file, config = (find_file(model, name, fetch=fetch) for name in ("tokenizer.json", "tokenizer_config.json"))
    if file is None:
        return None
    found = StoredTokenizer(file, {} if config is None else json.loads(config.read_text(encoding="utf-8")))
    # A run needs an end token; the trainer reports a missing one.
    return found if getattr(found, "eos_token_id", None) is not None else None


def is_here(model: str, *, fetch: bool) -> bool:
    """Whether a model is in a folder or the hub's local cache; with `fetch`, also whether the hub has it."""
    return find_file(model, "config.json", fetch=fetch) is not None


def find_file(model: str, name: str, *, fetch: bool = False) -> Path | None:
    """A model's file in a folder or the hub's local cache; with `fetch`, also from the hub. None if there is none."""
    folder = Path(find_model(model))
    if folder.is_dir():
        return folder / name if (folder / name).is_file() else None
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        found = try_to_load_from_cache(model, name)
        if isinstance(found, str):
            return Path(found)
        if not fetch or time.monotonic() < _unanswered_until[0]:
            return None
        with asking_hub(f"{name} of {model}"):
            return Path(hf_hub_download(model, name))
    except LocalEntryNotFoundError:  # the Hub cannot be reached
        _unanswered_until[0] = time.monotonic() + _ASK_AGAIN_S
        return None
    except (OSError, ValueError):  # no such model or file, which the run's own process reports
        return None


def _content(token: Any) -> str | None:
    return token.get("content") if isinstance(token, dict) else token
