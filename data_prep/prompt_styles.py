"""How a question is put to a model: UFT's completion prompt and the other styles of `--prompt_style`.

Rows on disk carry the completion style, as the published files do; `read_completion` finds question and example in it
again, and `restyle` makes the row of another style from them.
"""

from __future__ import annotations

from dataclasses import dataclass

THINK_TAG = "<think> "
_OPENING = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The assistant "
    "first thinks about the reasoning process in the mind and then provides the user with the answer.\nUser: "
)
_INSTRUCTION = (
    " Show your work in <think> </think> tags. And return the final answer in <answer> </answer> tags, for example "
    "<answer> "
)
_AFTER_EXAMPLE = " </answer>."
ASSISTANT_STARTS = "Let me solve this step by step.\n" + THINK_TAG
_CLOSING = _AFTER_EXAMPLE + "\nAssistant: " + ASSISTANT_STARTS


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and how an answer looks: (1 + 2) / 3 for countdown, 12 for mathematics."""

    text: str
    example: str


def completion_prompt(question: Question) -> str:
    """The prompt of the UFT paper for base models: one text that ends where the model's thought begins."""
    return _OPENING + question.text + _INSTRUCTION + question.example + _CLOSING


def read_completion(prompt: str) -> Question | None:
    """The question of a completion prompt, or None if `prompt` is not one."""
    at = prompt.rfind(_INSTRUCTION)
    if not prompt.startswith(_OPENING) or not prompt.endswith(_CLOSING) or at < len(_OPENING):
        return None
    example = prompt[at + len(_INSTRUCTION) : -len(_CLOSING)]
    return Question(prompt[len(_OPENING) : at], example)
