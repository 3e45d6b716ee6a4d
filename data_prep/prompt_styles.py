"""Prompt formats: UFT's completion prompt for base models, chat templates, Dr.GRPO's prompts.

Rows on disk are in the completion style, like the published files; `read_completion` extracts question and example,
from which `restyle` makes a row in another style.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from data_prep.schema import ANSWER_CLOSES, ANSWER_OPENS, Message, Row, SchemaError, read_rows, write_rows

_OPENING = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The assistant "
    "first thinks about the reasoning process in the mind and then provides the user with the answer.\nUser: "
)
_INSTRUCTION = (
    " Show your work in <think> </think> tags. And return the final answer in <answer> </answer> tags, for example "
    "<answer> "
)
_AFTER_EXAMPLE = " </answer>."
ASSISTANT_STARTS = "Let me solve this step by step.\n<think> "
_CLOSING = _AFTER_EXAMPLE + "\nAssistant: " + ASSISTANT_STARTS

# The beginning of every box that the mathematics reward reads: \boxed{7}, \boxed {7}, \boxed 7, \fbox{7}, \framebox{7}.
_BOX = re.compile(r"\\(?:boxed|fbox|framebox)")

# Base models are prompted with plain text: the content of the message, after the beginning-of-text token if the
# tokenizer adds one (Llama's models need it).
WITHOUT_BOS = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
PLAIN_TEMPLATE = "{{ bos_token or '' }}" + WITHOUT_BOS


@dataclass(frozen=True, slots=True)
class Question:
    """The question, and an example of the form of an answer: (1 + 2) / 3 for countdown, 12 for mathematics."""

    text: str
    example: str


@dataclass(frozen=True, slots=True)
class PromptStyle:
    """A prompt format. answer_format: where the reward looks for the final answer. chat: uses the model's own chat
    template, and the assistant's turn begins with `starts`. pattern: the text of the single message."""

    name: str
    title: str
    answer_format: Literal["tags", "boxed"]
    pattern: str
    chat: bool = False
    starts: str = ""

    def messages(self, question: Question) -> list[Message]:
        """The prompt of a question."""
        # Not str.format: questions are full of braces.
        text = self.pattern.replace("{example}", question.example).replace("{question}", question.text)
        return [{"role": "user", "content": text}]

    def read(self, text: str) -> Question | None:
        """The question in a prompt of this style, or None if `text` is not one."""
        opening, _, rest = self.pattern.partition("{question}")
        between, shown, closing = rest.partition("{example}")
        if not shown:
            between, closing = "", between
        end = len(text) - len(closing)
        at = text.rfind(between, 0, end) if shown else end
        if not text.startswith(opening) or not text.endswith(closing) or at < len(opening):
            return None
        return Question(text[len(opening) : at], text[at + len(between) : end])

    def template(self, own_template: str | Mapping[str, str] | None) -> str:
        """The chat template to use, given the tokenizer's own (if there are several, the one called "default").

        Raises:
            ValueError: if the style needs a chat template and the model has none.
        """
        if not self.chat:
            return PLAIN_TEMPLATE
        own_template = default_template(own_template)
        if not own_template:
            raise ValueError(
                f"--prompt_style {self.name}: the model's tokenizer has no chat template; "
                "use --prompt_style completion (for base models), or an instruct model"
            )
        return own_template + "{% if add_generation_prompt %}{{ " + repr(self.starts) + " }}{% endif %}"


def default_template(own_template: str | Mapping[str, str] | None) -> str | None:
    """The default chat template of a tokenizer: some also have named ones for tools or retrieval."""
    return own_template.get("default") if isinstance(own_template, Mapping) else own_template


STYLES = {
    style.name: style
    for style in (
        PromptStyle(
            name="completion",
            title="UFT's prompt for base models: plain text that ends inside <think>",
            answer_format="tags",
            pattern=_OPENING + "{question}" + _INSTRUCTION + "{example}" + _CLOSING,
        ),
        PromptStyle(
            name="chat",
            title="the model's own chat template; the assistant's turn starts inside <think>",
            answer_format="tags",
            pattern="{question}" + _INSTRUCTION + "{example}" + _AFTER_EXAMPLE,
            chat=True,
            starts=ASSISTANT_STARTS,
        ),
        PromptStyle(
            name="r1",
            title="the R1 prompt of Dr.GRPO (arXiv 2503.20783), plain text",
            answer_format="tags",
            pattern=(
                "A conversation between User and Assistant. The User asks a question, and the Assistant solves it. The "
                "Assistant first thinks about the reasoning process in the mind and then provides the User with the "
                "answer. The reasoning process is enclosed within <think> </think> and answer is enclosed within "
                "<answer> </answer> tags, respectively, i.e., <think> reasoning process here </think> <answer> answer "
                "here </answer>.\nUser: {question}\nAssistant: <think>"
            ),
        ),
        PromptStyle(
            name="qwen_math",
            title="the Qwen2.5-Math prompt of Dr.GRPO: ChatML, answer in \\boxed{}",
            answer_format="boxed",
            pattern=(
                "<|im_start|>system\nPlease reason step by step, and put your final answer within \\boxed{}."
                "<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
            ),
        ),
        PromptStyle(
            name="none",
            title="the question alone (Dr.GRPO's no template), answer in \\boxed{}",
            answer_format="boxed",
            pattern="{question}",
        ),
    )
}


def completion_prompt(question: Question) -> str:
    """The prompt of the UFT paper for base models: a text that ends where the model's thought begins."""
    return STYLES["completion"].messages(question)[0]["content"]


def read_completion(prompt: str) -> Question | None:
    """The question in a completion prompt, or None if `prompt` is not one."""
    return STYLES["completion"].read(prompt)


def question_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """The question in the last message, without the frame of its prompt style."""
    last = str(messages[-1]["content"]) if len(messages) else ""
    # The last style has no frame and matches every text.
    return next(question.text for style in STYLES.values() if (question := style.read(last)) is not None)


def with_hint(messages: Sequence[Mapping[str, Any]], style: PromptStyle, hint: str, wrap: str) -> list[Message]:
    """The prompt with a hint added to its last question, inside the frame of its style.

    Args:
        wrap: how to combine the two, with {question} and {hint}.
    """
    *before, last = messages
    text = str(last["content"])
    question = style.read(text)
    parts = {"question": text if question is None else question.text, "hint": hint}
    # In one pass: the question may contain the word {hint}.
    wrapped = re.sub(r"\{(question|hint)\}", lambda found: parts[found[1]], wrap)
    framed = wrapped if question is None else style.messages(Question(wrapped, question.example))[-1]["content"]
    turns = [*before, {**last, "content": framed}]
    return [{"role": str(turn["role"]), "content": str(turn["content"])} for turn in turns]


def restyle(row: Row, style: PromptStyle, where: str) -> Row:
    """The row with its prompt, and the end of its solution, in another style.

    If the answer is read from a box, the hint ends before the first one; the solution keeps it.

    Raises:
        SchemaError: if the row's prompt is not in the completion style, so that its question cannot be found.
    """
    question = read_completion("".join(message["content"] for message in row["prompt"]))
    if question is None:
        raise SchemaError(
            f"{where}, column prompt: not in the completion style, so --prompt_style {style.name} cannot find the "
            "question in it; make the file with `python3 -m data_prep validate`, or use --prompt_style "
            "completion"
        )
    reasoning = "".join(row["hint"])
    hint, answer = row["hint"], row["answer"]
    if style.answer_format == "boxed":
        hint = _before_the_first_box(hint)
        end = answer[len(reasoning) :]
        # A user's solution may have its box after the reasoning and no tags.
        if end.startswith(ANSWER_OPENS) and end.endswith(ANSWER_CLOSES):
            final = end[len(ANSWER_OPENS) : -len(ANSWER_CLOSES)]
            boxed = "\\boxed{" in reasoning
            answer = reasoning if boxed else f"{reasoning}\nThe final answer is \\boxed{{{final}}}."
    return {**row, "prompt": style.messages(question), "hint": hint, "answer": answer}


def _before_the_first_box(hint: Sequence[str]) -> list[str]:
    """The segments that end before the first box begins; none if it is in the first segment."""
    # The first box, since an earlier one may also contain the answer. Searched in the joined text, since a box may
    # start in one segment and end in the next: given its beginning, a model would only have to close it.
    box = _BOX.search("".join(hint))
    if box is None:
        return list(hint)
    return [segment for segment, end in zip(hint, accumulate(map(len, hint)), strict=True) if end <= box.start()]


def restyle_file(source: Path, target: Path, style: PromptStyle) -> None:
    """Writes `source` in another style to `target`, atomically."""
    rows = read_rows(source)
    write_rows(target, [restyle(row, style, f"{source}, row {number}") for number, row in enumerate(rows)])
