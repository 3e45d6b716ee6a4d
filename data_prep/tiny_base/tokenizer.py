"""Tokenizer of the embedded tiny base: one token per number, operator and constant sentence of the countdown prompt.
Everything else falls back to UTF-8 bytes, so any text round-trips exactly."""

from __future__ import annotations

import re
from typing import Any, Final

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

EOS: Final = "<|endoftext|>"
LARGEST_WHOLE_NUMBER: Final = 999
# A base model completes text: a conversation is just the concatenation of its messages.
CHAT_TEMPLATE: Final = "{% for m in messages %}{{ m['content'] }}{% endfor %}"

PROMPT_PIECES: Final = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
    "The assistant first thinks about the reasoning process in the mind and then provides the user with the answer.\n"
    "User: Using the numbers [",
    ", ",
    "], create an equation that equals ",
    ". You can use basic arithmetic operations (+, -, *, /) and each number can only be used once. "
    "Show your work in <think> </think> tags. And return the final answer in <answer> </answer> tags, "
    "for example <answer> (1 + 2) / 3 </answer>.\nAssistant: Let me solve this step by step.\n<think> ",
)
SOLUTION_PIECES: Final = (
    " + ",
    " - ",
    " * ",
    " / ",
    " = ",
    "Therefore, the final equation is ",
    " </think>\n<answer> ",
    " </answer>",
)


def byte_symbols() -> list[str]:
    """The 256 printable stand-ins of the ByteLevel alphabet, in a fixed order."""
    return sorted(pre_tokenizers.ByteLevel.alphabet())


def to_symbols(text: str) -> str:
    """`text` as spelled by the ByteLevel pre-tokenizer, which is the spelling in the vocabulary."""
    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)
    return "".join(piece for piece, _ in pieces)


def build_vocabulary() -> dict[str, int]:
    """Token -> id: eos first, then bytes, the integers 0..999, and the constant pieces of prompt and solution."""
    words = [to_symbols(piece) for piece in (*PROMPT_PIECES, *SOLUTION_PIECES)]
    numbers = [str(number) for number in range(LARGEST_WHOLE_NUMBER + 1)]
    ordered = dict.fromkeys([EOS, *byte_symbols(), *numbers, *words])
    return {token: index for index, token in enumerate(ordered)}


def split_pattern() -> str:
    """Regular expression whose matches become single tokens; longer pieces take precedence."""
    pieces = sorted((*PROMPT_PIECES, *SOLUTION_PIECES), key=len, reverse=True)
    constants = "|".join(re.escape(piece) for piece in pieces)
    # Numbers of four or more digits, which have no token, are spelled digit by digit.
    numbers = r"(?<!\d)\d{1,3}(?!\d)|\d"
    return f"{constants}|{numbers}|[\\n()]"


def build_tokenizer(max_length: int) -> PreTrainedTokenizerFast:
    """Fast tokenizer with `<|endoftext|>` as eos and pad; `max_length` is the model's context in tokens."""
    return whole_piece_tokenizer(build_vocabulary(), split_pattern(), max_length)


def whole_piece_tokenizer(vocabulary: dict[str, int], pattern: str, max_length: int) -> PreTrainedTokenizerFast:
    """A tokenizer of fixed pieces: a match of `pattern` is one token if it is in `vocabulary`, the rest is bytes."""
    # ignore_merges looks up the complete piece before spelling it out; without merges the rest is single bytes.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    split: Any = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    byte_level: Any = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(EOS, special=True, normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=EOS,
        pad_token=EOS,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )
