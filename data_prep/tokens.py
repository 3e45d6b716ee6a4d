"""Encoding and decoding of questions, given solutions and responses, for training, alignment rows, evaluation and
reward workers alike.

    prompt    the template's control tokens are tokens; the same characters in a question are text
    given     a hint or a solution: answer tags are tokens, framing tokens are text
    response  answer tags are kept, even if the tokenizer marks them as special; framing tokens are dropped
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

from data_prep.prompt_styles import PLAIN_TEMPLATE, STYLES, WITHOUT_BOS, PromptStyle, default_template

THINK, THINK_END = "<think>", "</think>"
TAGS = (THINK, THINK_END, "<answer>", "</answer>")

Opened = Literal["", "prompt", "template"]
"""Who opened the thought that a response continues: nobody, the prompt's own text, the template's assistant turn."""

_FRAMING = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
# Does not occur in human text: characters from a private use plane, and a number.
_SHIELD = re.compile("\U0010fffa(\\d+)\U0010fffb")


@dataclass(frozen=True)
class _Control:
    """The tokens of a tokenizer that are not text."""

    ends: frozenset[int]
    """Any of them ends a response."""

    framing: frozenset[int]
    """`ends` and other framing tokens: beginning of text, padding. Not part of a response's text."""

    closing: frozenset[int]
    closing_texts: tuple[str, ...]
    """What is removed from the end of an answer before the end token is added."""

    framing_texts: re.Pattern[str] | None
    all_texts: re.Pattern[str] | None
    """What a question must not contain as tokens: special tokens, including answer tags, and those of the template."""


_known: WeakKeyDictionary[Any, tuple[Any, _Control]] = WeakKeyDictionary()
_opens: WeakKeyDictionary[Any, dict[str, bool]] = WeakKeyDictionary()


def chat_template(style: PromptStyle, tokenizer: Any) -> str:
    """The template for prompts of a style. If it opens the thought itself, no second `<think>` is added.

    Raises:
        ValueError: if the style needs a chat template and the model has none.
    """
    if not style.chat:
        return plain_template(tokenizer)
    with_start, own = style.template(tokenizer.chat_template), default_template(tokenizer.chat_template)
    return own if own and opens_thought(tokenizer, chat_template=own) else with_start


def plain_template(tokenizer: Any) -> str:
    """The template for plain text: a tokenizer may have a beginning-of-text token without adding it (SmolLM2)."""
    first = tokenizer("a", add_special_tokens=True)["input_ids"][:1]
    return PLAIN_TEMPLATE if first == [tokenizer.bos_token_id] else WITHOUT_BOS


def opens_thought(tokenizer: Any, **template: Any) -> bool:
    """Whether the assistant's turn begins inside a thought.

    Args:
        template: arguments of `apply_chat_template`, such as `chat_template`.
    """
    key = json.dumps(template, sort_keys=True, default=str) + str(getattr(tokenizer, "chat_template", None))
    known = _opens.setdefault(tokenizer, {})
    if key not in known:
        known[key] = _probe(tokenizer, [_USER], True, **template).rstrip().endswith(THINK)
    return known[key]


def opened(tokenizer: Any, messages: Sequence[Mapping[str, Any]], **template: Any) -> Opened:
    """Who opened the thought that the response to these messages continues."""
    if opens_thought(tokenizer, **template):
        return "template"
    return "prompt" if str(messages[-1]["content"]).rstrip().endswith(THINK) else ""


def encode_question(tokenizer: Any, messages: Sequence[Mapping[str, Any]], **template: Any) -> list[int]:
    """Token ids of a prompt, up to where the response begins.

    Control tokens spelled out in a question are encoded as text, and so are framing tokens (beginning, end) in any
    other message. Everything else is as in `apply_chat_template`.
    """
    control = _control(tokenizer)
    shielded: list[str] = []

    def shield(found: re.Match[str]) -> str:
        shielded.append(found[0])
        return f"\U0010fffa{len(shielded) - 1}\U0010fffb"

    shown = [{**message, "content": _shielded(message, control, shield)} for message in messages]
    text = tokenizer.apply_chat_template(shown, add_generation_prompt=True, tokenize=False, **template)
    if not shielded:
        return _ids(tokenizer, text)
    ids: list[int] = []
    # Odd pieces are indices into `shielded`.
    for at, piece in enumerate(_SHIELD.split(text)):
        ids += _as_text(tokenizer, shielded[int(piece)]) if at % 2 else _ids(tokenizer, piece)
    return ids


def encode_given(tokenizer: Any, text: str, thought: Opened = "") -> list[int]:
    """Token ids of a hint or solution at the beginning of a response, without an end token.

    Args:
        thought: who opened the thought; if somebody did, a `<think>` at the beginning of the text is skipped.
    """
    text = _without_end(tokenizer, text)
    if thought and text.lstrip().startswith(THINK):
        text = text.lstrip()[len(THINK) :].lstrip()
    pattern = _control(tokenizer).framing_texts
    if pattern is None:
        return _ids(tokenizer, text)
    pieces = re.split(f"({pattern.pattern})", text)
    return [i for at, piece in enumerate(pieces) for i in (_as_text if at % 2 else _ids)(tokenizer, piece)]


def closed(tokenizer: Any, text: str, thought: Opened = "") -> list[int]:
    """Token ids of a complete answer with exactly one end token, whether or not the text has one.

    If the template opened a thought and the text has none, the thought is closed first.

    Raises:
        ValueError: for a tokenizer without an end token.
    """
    if thought == "template" and THINK not in text and THINK_END not in text:
        text = f"\n{THINK_END}\n\n{text}"
    if tokenizer.eos_token_id is None:
        raise ValueError("the tokenizer has no eos_token: a model could not learn where an answer ends")
    ids = encode_given(tokenizer, text, thought)
    closing = _control(tokenizer).closing
    while ids and ids[-1] in closing:  # some tokenizers append it themselves
        ids.pop()
    return [*ids, tokenizer.eos_token_id]


def decode_response(tokenizer: Any, ids: Iterable[int]) -> str:
    """The text of a response, with all tags but without framing tokens."""
    framing = _control(tokenizer).framing
    text: str = tokenizer.decode([i for i in map(int, ids) if i not in framing], skip_special_tokens=False)
    return text


def end_tokens(tokenizer: Any) -> frozenset[int]:
    """The tokens that end a response: the tokenizer's, the template's, those of the generation settings."""
    return _control(tokenizer).ends


_USER = {"role": "user", "content": "Q"}
_ASSISTANT = {"role": "assistant", "content": "\U0010fffa"}


def _control(tokenizer: Any) -> _Control:
    # Not including its size: the tokenizers library copies the vocabulary to count it, 86 ms for 150,000 tokens, and
    # this is called several times per rollout.
    state = (tokenizer.eos_token_id, str(getattr(tokenizer, "chat_template", None)))
    known = _known.get(tokenizer)
    if known is None or known[0] != state:
        known = _known[tokenizer] = (state, _find_control(tokenizer, getattr(tokenizer, "added_tokens_decoder", {})))
    return known[1]


def _find_control(tokenizer: Any, added: Mapping[int, Any]) -> _Control:
    texts = {i: str(token.content) for i, token in added.items()}
    # In some tokenizers runs of spaces are added tokens.
    written = {i: text for i, text in texts.items() if not text.isspace()}
    # Responses may end with an answer tag, which is then part of their text.
    said = {i for i, text in texts.items() if text in TAGS}
    ends: set[Any] = {tokenizer.eos_token_id, *_generation_ends(tokenizer)}
    after = _probe(tokenizer, [_USER, _ASSISTANT], False).partition("\U0010fffa")[2].lstrip()
    ends |= {i for i, text in written.items() if after.startswith(text)} - said
    closing: set[Any] = ends - said | {tokenizer.eos_token_id}
    framing: set[Any] = ends | {getattr(tokenizer, f"{name}_token_id", None) for name in _FRAMING}
    frame = _probe(tokenizer, [_USER], True)
    special = {i for i, token in added.items() if token.special}
    return _Control(
        ends=frozenset(ends - {None}),
        framing=frozenset(framing - said - {None}),
        closing=frozenset(closing - {None}),
        closing_texts=tuple(texts[i] for i in closing if i in texts),
        framing_texts=_any_of(texts[i] for i in framing - said if i in texts),
        all_texts=_any_of(text for i, text in written.items() if i in special | framing or text in frame),
    )


def _probe(tokenizer: Any, messages: list[dict[str, str]], generates: bool, **template: Any) -> str:
    """The messages rendered by a template; empty if there is none, or it rejects them."""
    if not (template.get("chat_template") or getattr(tokenizer, "chat_template", None)):
        return ""
    try:
        text: str = tokenizer.apply_chat_template(messages, add_generation_prompt=generates, tokenize=False, **template)
    except Exception:  # whatever a template raises: some reject conversations of one turn, or without a system message
        return ""
    return text


def _generation_ends(tokenizer: Any) -> set[int]:
    """The end tokens of the generation settings next to a tokenizer, at which inference engines also stop."""
    folder = getattr(tokenizer, "name_or_path", None) or ""
    file: Any = Path(folder) / "generation_config.json"
    if folder and not Path(folder).is_dir():
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            file = try_to_load_from_cache(folder, "generation_config.json")
        except HFValidationError:
            return set()
    if not isinstance(file, str | Path) or not Path(file).is_file():
        return set()
    found = json.loads(Path(file).read_text(encoding="utf-8")).get("eos_token_id")
    return set(found) if isinstance(found, list) else {found} - {None}


def _shielded(message: Mapping[str, Any], control: _Control, shield: Any) -> Any:
    """The content of a message with its control tokens replaced."""
    text, role = message.get("content"), message.get("role")
    if not isinstance(text, str):
        return text
    # Instructions and earlier answers may use tags as tags.
    asks = role not in ("system", "developer", "assistant")
    pattern = control.all_texts if asks else control.framing_texts
    if pattern is None or not pattern.search(text):
        return text
    start, end = _question_in(text) if asks else (0, len(text))
    return text[:start] + pattern.sub(shield, text[start:end]) + text[end:]


def _question_in(text: str) -> tuple[int, int]:
    """Where the question in a prompt begins and ends, inside the frame of its style."""
    for style in STYLES.values():
        question = style.read(text)
        if question is not None:
            start = len(style.pattern.partition("{question}")[0])
            return start, start + len(question.text)
    return 0, len(text)


def _without_end(tokenizer: Any, text: str) -> str:
    """The text without end tokens spelled out at its end."""
    ends = _control(tokenizer).closing_texts
    while ends and (bare := text.rstrip()).endswith(ends):
        text = next(bare[: -len(end)] for end in ends if bare.endswith(end))
    return text


def _ids(tokenizer: Any, text: str) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
    return found


def _as_text(tokenizer: Any, token: str) -> list[int]:
    """The characters of a control token, without the token."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    ids: list[int] = tokenizer(token, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    # A template's tokens need not be marked as special: then they are cut in two.
    return _ids(tokenizer, token[:1]) + _ids(tokenizer, token[1:]) if any(i in added for i in ids) else ids


def _any_of(texts: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted(set(texts), key=lambda text: (-len(text), text))
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
