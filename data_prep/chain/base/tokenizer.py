"""Tokenizer of the chain bases: steps, inputs, entries of the answer and constant passages are single tokens.
Everything else falls back to UTF-8 bytes, so any text round-trips exactly."""

from __future__ import annotations

import re
from itertools import product
from typing import Final

from transformers import PreTrainedTokenizerFast

from data_prep.chain.problem import RULES
from data_prep.chain.rows import EXAMPLE, MOVES, TASK
from data_prep.prompt_styles import Question, completion_prompt
from data_prep.schema import ANSWER_CLOSES, ANSWER_OPENS
from data_prep.tiny_base.tokenizer import EOS, byte_symbols, to_symbols, whole_piece_tokenizer

STATES: Final = 4
DEEPEST: Final = 32
"""The largest step number with tokens."""

STEP, INPUT, ENTRY = "state {number}: {state}\n", "input {number}: {state}\n", "({number}) {state} "
SHOWN: Final = {
    "prefix": "{question}\n\nHere is the beginning of a solution:\n{shown}",
    "begun": (
        "{question}\n\nSomebody has begun to solve this:\n{shown}\n\nUnderstand what is there, then go on from it."
    ),
    "solution": (
        "For the question at the end, this is a correct solution:\n{shown}\n\nNow solve it in your own words.\n\n"
        "{prompt}"
    ),
}
"""How a solution, or its beginning, is shown in a question, in the words of the algorithms that do so."""


def stepped(form: str) -> list[str]:
    """All texts of a form, ordered by number, then state."""
    return [form.format(number=number, state=state) for number, state in product(range(DEEPEST + 1), range(STATES))]


def constants() -> list[str]:
    """The constant passages of prompts and solutions."""
    before, after = completion_prompt(Question("\0", EXAMPLE)).split("\0")
    heads = [f"{before}{MOVES[rule].format(states=STATES)}{TASK}\n" for rule in RULES]
    shown = [piece for frame in SHOWN.values() for piece in re.split(r"\{\w+\}", frame) if piece]
    return [*heads, after, *shown, ANSWER_OPENS, ANSWER_CLOSES.strip()]


def build_tokenizer(max_length: int) -> PreTrainedTokenizerFast:
    """Fast tokenizer with `<|endoftext|>` as eos and pad; `max_length` is the model's context in tokens."""
    texts = [*constants(), *(text for form in (STEP, INPUT, ENTRY) for text in stepped(form))]
    ordered = dict.fromkeys([EOS, *byte_symbols(), *map(to_symbols, texts)])
    pieces = sorted(constants(), key=len, reverse=True)
    pattern = "|".join([*map(re.escape, pieces), r"(?:state|input) \d+: \d\n", r"\(\d+\) \d "])
    return whole_piece_tokenizer({token: index for index, token in enumerate(ordered)}, pattern, max_length)
