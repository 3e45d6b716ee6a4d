"""Tokenizers as people train with: answer tags that are special tokens, a template that opens the thought, an end token
that the tokenizer appends. Made of the embedded one, in a few milliseconds."""

import json
from pathlib import Path
from typing import Any

from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from tests import ROOT

EMBEDDED = ROOT / "models/tiny-countdown"
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
TURNS = ("<|im_start|>", "<|im_end|>")

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
)
THINKING = CHATML + "<think>\n{% endif %}"
CHATML += "{% endif %}"


def tokenizer(kind: str) -> Any:
    """`plain`: the embedded one. `tags`: with special answer tags. `chat`: with a chat template. `thinking`: with one
    that opens the thought. `thinking_tags`: both. `appends`: one that puts an end token after what it encodes."""
    made = AutoTokenizer.from_pretrained(EMBEDDED)
    if kind in ("chat", "thinking", "thinking_tags"):
        made.chat_template = CHATML if kind == "chat" else THINKING
        # As in DeepSeek's distilled models, not marked as special.
        made.add_tokens([TURNS[0]])
        made.add_special_tokens({"additional_special_tokens": [TURNS[1]]})
    if kind in ("tags", "thinking_tags"):
        made.add_special_tokens({"additional_special_tokens": [*TAGS, *(TURNS[1:] if kind == "thinking_tags" else ())]})
    if kind == "appends":
        end = [(made.eos_token, made.eos_token_id)]
        made.backend_tokenizer.post_processor = TemplateProcessing(single=f"$A {made.eos_token}", special_tokens=end)
        assert made("7")["input_ids"][-1] == made.eos_token_id
    return made


def saved(kind: str, folder: Path, **generation: Any) -> Path:
    """The tokenizer in a folder, with generation settings beside it."""
    tokenizer(kind).save_pretrained(folder)
    (folder / "generation_config.json").write_text(json.dumps(generation), encoding="utf-8")
    return folder
