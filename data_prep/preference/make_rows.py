"""Makes alignment rows from the cells of one row of a user's file: two from a pair, one per answer of a conversation.
Texts are kept verbatim; what cannot be used is a Problem with row, column and fix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from data_prep.faults import Problem, shorten, shown
from data_prep.files.cells import BadCell, bad_cell, checked_text, refuse_foreign
from data_prep.preference.cells import BadCells, all_of, label_of, messages_in, number_of, text_of
from data_prep.preference.layout import COMPLETION, MESSAGES, OUTPUT, PAIR, Layout
from data_prep.preference.schema import Row, normalise_row
from data_prep.preference.split import prompt_group
from data_prep.schema import Message, SchemaError

DATA_SOURCE = "custom"


@dataclass(frozen=True, slots=True)
class Scale:
    """The worst and the best possible score; `share` maps a score between them to 0..1."""

    low: float = 0.0
    high: float = 1.0

    def share(self, column: str, score: float) -> float:
        """(score - low) / (high - low); BadCell for a score outside the scale."""
        if not self.low <= score <= self.high:
            what = f"a score outside {self.low:g} to {self.high:g}"
            raise BadCell(what, "fix the row or the scale (--score-min, --score-max)", column, f"{score:g}")
        return (score - self.low) / (self.high - self.low)


Parts = Mapping[str, tuple[str, Any]]


def make_rows(layout: Layout, number: int, cells: dict[str, Any], scale: Scale) -> list[Row] | list[Problem]:
    """The alignment rows of row `number`, with index and split still to be set; or its problems."""
    makers = {PAIR: pair_rows, COMPLETION: _completion, OUTPUT: _output, MESSAGES: _conversation}
    try:
        refuse_foreign(layout.used(layout.kinds), cells)
        maker = makers.get(layout.kind_of(cells))
        if maker is None:
            return [_whole_row(cells)]
        parts = {part: (column, cells.get(column)) for part, column in layout.columns.items()}
        return _with_system(maker(parts, number, scale), parts)
    except BadCell as cell:
        cells_at_fault = cell.cells if isinstance(cell, BadCells) else [cell]
        return [Problem(each.what, each.fix, number, each.column, each.detail) for each in cells_at_fault]
    except RecursionError:
        return [Problem("nested too deeply", "write plain texts and lists of messages", number)]


def _with_system(rows: list[Row], parts: Parts) -> list[Row]:
    """The rows with the system prompt from its own column put before their conversations."""
    column, value = parts.get("system", ("", None))
    system = text_of(column, value, optional=True) if column else ""
    if not system:
        return rows
    found = []
    for row in rows:
        first = row["prompt"][0]
        if first["role"] == "system" and first["content"].strip() != system.strip():
            raise BadCell("another system prompt than the conversation's own", "empty one of the two", column)
        prompt = (
            row["prompt"] if first["role"] == "system" else [Message(role="system", content=system), *row["prompt"]]
        )
        # Answers to the same question under different system prompts must not be compared.
        group = prompt_group(prompt) if row["group"] == prompt_group(row["prompt"]) else row["group"]
        found.append(Row(**{**row, "prompt": prompt, "group": group}))
    return found


def _whole_row(cells: dict[str, Any]) -> Row:
    """A row that is already in the alignment format."""
    try:
        row = normalise_row(cells, "@")
    except SchemaError as error:
        raise bad_cell(error, "docs/alignment_data.md") from None
    texts = [("prompt", turn["content"]) for turn in row["prompt"] if turn["content"].strip()]
    texts += [("completion", row["completion"]), ("group", row["group"]), ("data_source", row["data_source"])]
    for column, text in texts:
        checked_text(column, text)
    return row


def new_row(
    prompt: list[Message], completion: str, score: float, feedback: str, group: str, source: str = DATA_SOURCE
) -> Row:
    """A row whose index and split are still to be set."""
    return {
        "prompt": prompt,
        "completion": completion,
        "score": score,
        "feedback": feedback,
        "group": group,
        "data_source": source,
        "extra_info": {"index": 0, "split": ""},
    }


def pair_rows(parts: Parts, number: int, scale: Scale) -> list[Row]:
    """The two rows of a pair, the chosen one first, from parts as (column, cell); BadCell if the pair is unusable."""
    scored = [part for part in ("chosen_score", "rejected_score") if part in parts]
    (prompt, chosen), (other_prompt, rejected), *scores = all_of(
        lambda: _answered(parts, "chosen"),
        lambda: _answered(parts, "rejected"),
        *(partial(_score, parts, part, scale) for part in scored),
    )
    if prompt != other_prompt:
        turn = next((n for n, (a, b) in enumerate(zip(prompt, other_prompt, strict=False), 1) if a != b), None)
        raise BadCell(
            "chosen and rejected are not answers to the same conversation",
            "they may differ in their last turn only",
            parts["rejected"][0],
            "one has more turns" if turn is None else f"turn {turn} differs",
        )
    if chosen.strip() == rejected.strip():
        raise BadCell("chosen and rejected are the same", "delete the row", parts["rejected"][0], shorten(repr(chosen)))
    if scores and scores[0] < scores[1]:
        column = parts["chosen_score"][0]
        detail = f"{parts['chosen_score'][1]} and {parts['rejected_score'][1]}"
        raise BadCell("the chosen answer has the lower score", "swap the answers or the scores", column, detail)
    feedback, scores = ("score", scores) if scores else ("pairwise", [1.0, 0.0])
    group = f"pair-{number}"
    return [
        new_row(prompt, chosen, scores[0], feedback, group),
        new_row(prompt, rejected, scores[1], feedback, group),
    ]


def _completion(parts: Parts, number: int, scale: Scale) -> list[Row]:
    reads: dict[str, Callable[[], float]] = {
        "binary": lambda: float(label_of(*parts["label"])),
        "score": lambda: _score(parts, "score", scale),
        "instruction": lambda: 1.0,
    }
    feedback = "binary" if "label" in parts else "score" if "score" in parts else "instruction"
    (prompt, completion), score = all_of(lambda: _answered(parts, "completion"), reads[feedback])
    group = f"instruction-{number}" if feedback == "instruction" else prompt_group(prompt)
    return [new_row(prompt, completion, score, feedback, group)]


def _output(parts: Parts, number: int, scale: Scale) -> list[Row]:
    prompt, output = all_of(lambda: _instruction(parts), lambda: text_of(*parts["output"]))
    return [new_row(prompt, output, 1.0, "instruction", f"instruction-{number}")]


def _conversation(parts: Parts, number: int, scale: Scale) -> list[Row]:
    column, value = parts["messages"]
    messages = messages_in(column, value)
    if messages is None:
        text_of(column, value)  # says what is wrong with an empty cell
        raise BadCell("a text, not messages", 'write [{"role": "user", "content": "..."}, ...]', column)
    rows = unfold(messages, column, f"instruction-{number}")
    if not rows:
        raise BadCell("no turn of the assistant", "add the answer or delete the row", column)
    return rows


def unfold(messages: list[Message], column: str, group: str) -> list[Row]:
    """One instruction row per turn of the assistant, with all earlier turns as its prompt; BadCell for a bad turn.

    What the user says after the last answer is dropped.
    """
    rows = []
    for at, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        if at == 0 or messages[at - 1]["role"] != "user":
            detail = f"message {at + 1}"
            raise BadCell("a turn of the assistant does not follow one of the user", "fix the turns", column, detail)
        rows.append(new_row(messages[:at], message["content"], 1.0, "instruction", f"{group}-{at}"))
    return rows


def _answered(parts: Parts, part: str) -> tuple[list[Message], str]:
    """(prompt, completion) from the prompt column and the answer `part`, which may be an entire conversation."""
    column, value = parts[part]
    messages = messages_in(column, value)
    if messages is not None and messages[-1]["role"] != "assistant":
        raise BadCell("the last turn is not the assistant's", "end it with the answer", column)
    if messages is not None and len(messages) > 1:
        prompt = messages[:-1]
        if prompt[-1]["role"] != "user":
            raise BadCell("the turn before the answer is not the user's", "fix the turns", column)
        _same_prompt(parts, prompt, column)
        return prompt, messages[-1]["content"]
    read = _prompt_of(parts)
    if read is None:
        fix = f"add a column prompt, or write {part} as a whole conversation, a list of messages"
        has = ", ".join(each for each, _ in parts.values())
        raise BadCell("an answer without its prompt", fix, None, f"the row has {has}")
    prompt, answer = all_of(
        read,
        lambda: text_of(column, value) if messages is None else messages[0]["content"],
    )
    return prompt, answer


def _prompt_of(parts: Parts) -> Callable[[], list[Message]] | None:
    """Reads what the answers of a row are to: the prompt, or as in LLaMA-Factory's files a conversation up to them, or
    an instruction and its input; None where there is none of these."""
    if "prompt" in parts:
        return partial(_prompt, *parts["prompt"])
    if parts.get("messages", ("", None))[1] is not None:
        return partial(_prompt, *parts["messages"])
    return partial(_instruction, parts) if "instruction" in parts else None


def _instruction(parts: Parts) -> list[Message]:
    """A row's instruction with its input, behind what was said before (history: pairs of an instruction and an
    answer)."""
    *asked, before = all_of(
        lambda: text_of(*parts["instruction"]),
        lambda: text_of(*parts["input"], optional=True) if "input" in parts else "",
        lambda: _history(*parts["history"]) if "history" in parts else [],
    )
    return [*before, {"role": "user", "content": "\n".join(part for part in asked if part)}]


def _history(column: str, value: Any) -> list[Message]:
    pairs = value or []
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise BadCell("no list of pairs", 'write [["an instruction", "its answer"], ...]', column, shown(value))
    return [
        {"role": role, "content": text_of(column, text)}
        for pair in pairs
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]


def _prompt(column: str, value: Any) -> list[Message]:
    messages = messages_in(column, value)
    if messages is None:
        return [{"role": "user", "content": text_of(column, value)}]
    if messages[-1]["role"] != "user":
        raise BadCell("the last turn is not the user's", "end the prompt with what is to be answered", column)
    return messages


def _same_prompt(parts: Parts, prompt: list[Message], column: str) -> None:
    """A conversation that has a prompt column must contain that prompt, completely or as one of the user's turns."""
    if "prompt" not in parts or parts["prompt"][1] is None:
        return
    stated = _prompt(*parts["prompt"])
    asked = [message["content"].strip() for message in prompt if message["role"] == "user"]
    if stated != prompt and not (len(stated) == 1 and stated[0]["content"].strip() in asked):
        fix = "make them agree, or delete the column prompt"
        raise BadCell("a whole conversation that is not about the row's prompt", fix, column)


def _score(parts: Parts, part: str, scale: Scale) -> float:
    column, value = parts[part]
    return scale.share(column, number_of(column, value))
