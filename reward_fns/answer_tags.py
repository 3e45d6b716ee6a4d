"""Reading `<answer> ... </answer>` blocks: which text of a response counts, and what happens if blocks disagree.
Shared by the tasks with answers in tags; linear in the length of the response."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from reward_fns.verdict import Verdict

THINK_END = "</think>"
ANSWER_START = "<answer>"
ANSWER_END = "</answer>"

# A response with more different answers than this is hedging anyway; reading on would only cost time.
MAX_DIFFERENT_ANSWERS = 16

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """What the answer blocks of one response say.

    value: the answer that all blocks agree on, or None if nothing was readable or the blocks disagree.
    hedged: at least one block is readable, but not all of them give the same answer.
    text: the text as read, for logs (at most 200 characters, always valid UTF-8).
    """

    value: T | None
    hedged: bool
    text: str


def answer_texts(response: str) -> list[str]:
    """The different texts inside complete answer blocks, stripped, in order of first appearance.

    Only the text after the first `</think>` counts; without `</think>` the entire response is read (the completion
    prompt opens the thought, and a model may answer without closing it). A block starts at the last `<answer>` before
    an `</answer>`, so a stray or unclosed tag before the answer does no harm. At most MAX_DIFFERENT_ANSWERS + 1 texts
    are returned.
    """
    thought_end = response.find(THINK_END)
    start = 0 if thought_end < 0 else thought_end + len(THINK_END)
    texts: list[str] = []
    while len(texts) <= MAX_DIFFERENT_ANSWERS:
        end = response.find(ANSWER_END, start)
        if end < 0:
            break
        opening = response.rfind(ANSWER_START, start, end)
        if opening >= 0:
            text = response[opening + len(ANSWER_START) : end].strip()
            if text not in texts:
                texts.append(text)
        start = end + len(ANSWER_END)
    return texts


def read_answer(response: str, read: Callable[[str], T | None]) -> Reading[T]:
    """Reads every answer block with `read` (None means unreadable) and checks that they agree."""
    texts = answer_texts(response)
    values = [read(text) for text in texts]
    if not values:
        return Reading(None, False, "")
    if len(values) <= MAX_DIFFERENT_ANSWERS and all(value == values[0] for value in values):
        return Reading(values[0], False, printable(texts[0]))
    return Reading(None, any(value is not None for value in values), printable(" | ".join(t[:60] for t in texts)))


def list_verdict(
    response: str,
    solution: Sequence[Any],
    whole: Callable[[str], Sequence[Any] | None],
    in_part: Callable[[str], Sequence[Any] | None] | None = None,
) -> Verdict:
    """The verdict on an answer that is a list, correct if all of it is; `partial`: the share correct at its position.

    Args:
        whole: reads an answer block; None if it is not readable.
        in_part: reads a block that `whole` cannot, only for `partial`; gaps in it match nothing.
    """
    reading = read_answer(response, whole)
    found = reading.value
    if in_part and found is None and not reading.hedged and len(texts := answer_texts(response)) == 1:
        found = in_part(texts[0])
    right = sum(one == other for one, other in zip(found or (), solution, strict=False))
    return Verdict(
        correct=reading.value == solution,
        readable=reading.value is not None or reading.hedged,
        pred=reading.text,
        partial=right / max(len(solution), len(found or ())),
    )


def printable(text: str) -> str:
    """The text, safe for logs: at most 200 characters of valid UTF-8."""
    # Byte-level tokenizers produce lone surrogates, which cannot be written to logs.
    return text[:200].encode("utf-8", "backslashreplace").decode("utf-8")[:200]
