"""What a model's files say about conversations: its chat template, and whether it was tuned on them."""

import json
import re
from pathlib import Path
from typing import Any

from data_prep.prompt_styles import default_template
from eval.models import published_name
from recipes.data.stored_tokenizer import find_file

SMALL = ("config.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")
"""The files read for it."""


def stored_template(model: str) -> str | None:
    """The chat template of a local model; empty if it has none, None if the model is not local."""
    file, config = find_file(model, "chat_template.jinja"), find_file(model, "tokenizer_config.json")
    if file is not None:
        return file.read_text(encoding="utf-8")
    if config is None:
        return None
    found = _values(config).get("chat_template")
    if isinstance(found, list):  # several, by name
        found = {each["name"]: each["template"] for each in found}
    return default_template(found) or ""


def ends_turns(model: str) -> bool | None:
    """Whether a model was tuned on conversations; None if it is not local.

    Base models may have a chat template too (Qwen2.5's do). But a tuned model ends its answers with the token that ends
    a turn in its template; a base model with the token that ends a text.
    """
    template = stored_template(model)
    if not template:
        return None if template is None else False
    return bool(re.search(r"\beos_token\b", template)) or any(end in template for end in _ends(model))


def fetch_small_files(model: str) -> None:
    """Download the files above, as far as the hub has them and can be reached."""
    model = published_name(model)
    if find_file(model, SMALL[0], fetch=True) is not None:
        for name in SMALL[1:]:
            find_file(model, name, fetch=True)


def _ends(model: str) -> set[str]:
    """Texts of the tokens that end an answer, according to the tokenizer and the generation settings."""
    tokenizer, config, generation = (
        {} if (file := find_file(model, name)) is None else _values(file)
        for name in ("tokenizer_config.json", "config.json", "generation_config.json")
    )
    end = tokenizer.get("eos_token")
    found = {end.get("content") if isinstance(end, dict) else end}
    written = tokenizer.get("added_tokens_decoder") or {}
    for ids in (config.get("eos_token_id"), generation.get("eos_token_id")):
        for token in ids if isinstance(ids, list) else [ids]:
            found.add(written.get(str(token), {}).get("content"))
    return {text for text in found if text}


def _values(file: Path) -> dict[str, Any]:
    found = json.loads(file.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}
