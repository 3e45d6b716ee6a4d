"""Makes a row in our format, or a list of its errors, from the cells of one row of a user's file.
Example: {"problem": "What is 2 + 2?", "cot": "2 + 2 = 4.", "answer": 4} under the math reward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from data_prep.faults import Problem, shown
from data_prep.files.cells import BadCell, bad_cell, cell_text, checked_text, refuse_foreign
from data_prep.problems.cells import bare_answer, countdown_truth, kk_logic_truth, reasoning_of, split_marked_answer
from data_prep.problems.layout import Layout
from data_prep.prompt_styles import Question, completion_prompt, read_completion
from data_prep.schema import Row, SchemaError, build_row, normalise_row

_OF_VERL = Layout("simple", ("prompt",), answer="reward_model")

# The example of an answer in the prompt.
EXAMPLES = {
    "countdown": "(1 + 2) / 3",
    "kk_logic": "(1) Zoey is a knight\n(2) Oliver is a knight\n(3)...",
    "math": "12",
    "custom": "your answer",
}


def make_row(layout: Layout, number: int, cells: Mapping[str, Any], source: str | None) -> Row | list[Problem]:
    """The row, with index and split still to be set; or the problems of row `number`.

    source: the resulting data_source, one of EXAMPLES; None keeps that of a row in the training format.
    """
    bad: list[BadCell] = []
    try:
        _refuse_foreign(layout, cells)
        if layout.kind == "schema":
            row = _schema_row(cells, source, bad)
        elif layout.kind == "verl":
            row = _simple_row(_OF_VERL, _verl_cells(cells), source or "math", bad)
        else:
            row = _simple_row(layout, cells, source or "math", bad)
    except BadCell as cell:
        bad, row = [cell], None
    except RecursionError:
        return [Problem("nested too deeply", "write plain texts and short lists", number)]
    if row is None or bad:
        return [Problem(cell.what, cell.fix, number, cell.column, cell.detail) for cell in bad]
    return row


def _refuse_foreign(layout: Layout, cells: Mapping[str, Any]) -> None:
    """BadCell for a row that holds something, but nothing in the columns that the file's other rows have."""
    used = [*layout.question, layout.solution, layout.answer, layout.numbers, layout.target, layout.ground_truth]
    refuse_foreign([column for column in used if column], cells)


def _schema_row(cells: Mapping[str, Any], source: str | None, bad: list[BadCell]) -> Row | None:
    try:
        row = normalise_row(cells, "@")
    except SchemaError as error:
        bad.append(bad_cell(error, "docs/custom_data.md"))
        return None
    texts = [("prompt", message["content"]) for message in row["prompt"]]
    texts += [("hint", text) for text in row["hint"]] + [("answer", row["answer"])]
    for column, text in texts:
        try:
            checked_text(column, text)
        except BadCell as cell:
            bad.append(cell)
    if source is not None:
        row["data_source"] = source
    return row


def _verl_cells(cells: Mapping[str, Any]) -> dict[str, Any]:
    """Question and answer of a row in verl's format: the user's message in `prompt`, and reward_model.ground_truth."""
    prompt, judged = cells.get("prompt"), cells.get("reward_model")
    if not isinstance(judged, Mapping) or not isinstance(judged.get("ground_truth"), str | int | float):
        raise BadCell("no answer", 'write {"ground_truth": "72"}', "reward_model", shown(judged))
    turns = [turn for turn in prompt if isinstance(turn, Mapping)] if isinstance(prompt, Sequence) else []
    turns = [turn for turn in turns if turn.get("role") != "system"]
    if len(turns) != 1 or turns[0].get("role") != "user":
        raise BadCell("not one question", 'write [{"role": "user", "content": "..."}]', "prompt", shown(prompt))
    return {"prompt": turns[0].get("content"), "reward_model": judged["ground_truth"]}


def _simple_row(layout: Layout, cells: Mapping[str, Any], source: str, bad: list[BadCell]) -> Row | None:
    def read(column: str | None, optional: bool = False) -> str:
        try:
            return "" if column is None else cell_text(column, cells.get(column), optional)
        except BadCell as cell:
            bad.append(cell)
            return ""

    # Of instruction and input, the input is often empty.
    asked = [read(column, optional=at > 0) for at, column in enumerate(layout.question)]
    solution = read(layout.solution, optional=True)
    answer = read(layout.answer, optional=layout.ground_truth is not None)
    try:
        if layout.solution is None:
            solution, answer = split_marked_answer(answer)
        reasoning = reasoning_of(layout.solution or "answer", solution)
        if layout.answer is not None:
            bare_answer(layout.answer, answer)
        truth = _ground_truth(layout, cells, answer)
    except BadCell as cell:
        bad.append(cell)
    if bad:
        return None
    question = "\n".join(part for part in asked if part)
    wrapped = read_completion(question + " ")  # cells are stripped, and the wrapping ends in a space
    if wrapped is not None:
        question = wrapped.text
    from data_prep.segments import segments  # only files with solutions need it

    return build_row(
        prompt=completion_prompt(Question(question or _countdown_question(truth), EXAMPLES[source])),
        hint=segments(reasoning) if reasoning else [],
        final_answer=answer or truth["solution_text_format"],
        data_source=source,
        ability="math",
        ground_truth=truth,
        index=0,
        split="",
    )


def _ground_truth(layout: Layout, cells: Mapping[str, Any], answer: str) -> Mapping[str, Any]:
    if layout.numbers is not None and layout.target is not None:
        numbers, target = cells.get(layout.numbers), cells.get(layout.target)
        return countdown_truth(layout.numbers, numbers, layout.target, target)
    if layout.ground_truth is not None:
        return kk_logic_truth(layout.ground_truth, cells.get(layout.ground_truth))
    return {"target": answer}


def _countdown_question(truth: Mapping[str, Any]) -> str:
    from data_prep.countdown.generate import QUESTION

    return QUESTION.format(numbers=truth["numbers"], target=truth["target"])
