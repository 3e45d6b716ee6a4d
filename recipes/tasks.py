"""The tasks behind --data: how long their texts are and how their files come to be."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """One task. Lengths are in tokens of a Qwen2.5-like tokenizer, as the UFT paper sets them (table 1)."""

    name: str
    """What --data takes."""

    title: str
    """One line for tables."""

    max_prompt_length: int
    """Longest prompt; a longer one is left out with a word, never cut."""

    max_hint_length: int
    """Longest hint; whole steps are dropped from a longer one."""

    max_response_length: int
    """Most tokens the model may generate, hint not counted."""


TASKS = {
    "countdown": Task(
        name="countdown",
        title="reach a target from 3-4 numbers with + - * /",
        max_prompt_length=256,
        max_hint_length=256,
        max_response_length=1024,
    ),
}
