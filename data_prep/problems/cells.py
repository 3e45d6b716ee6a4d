"""The content of a problem's cells: its steps, its final answer, the ground truth of countdown and of a puzzle.
Example: "44 19 35" in a CSV file is the list [44, 19, 35]."""

from __future__ import annotations

import json
import re
from typing import Any

from data_prep.faults import shown
from data_prep.files.cells import BadCell, cell_text
from data_prep.problems.layout import COUNTDOWN_NEEDS, KK_LOGIC_NEEDS

_TAG = re.compile(r"</think>|</?answer>")
_ENDING = re.compile(r"(?:</think>)?\s*(?:<answer>(?:(?!</?answer>).)*</answer>)?", re.DOTALL)
_MARKED = re.compile(r"(?:^|\n)####[ \t]*([^\n]+)\Z")


def split_marked_answer(text: str) -> tuple[str, str]:
    """(solution, answer) of GSM8K's form, a worked solution whose last line is "#### 72"; else ("", text)."""
    marked = _MARKED.search(text)
    return (text[: marked.start()], marked[1].strip()) if marked else ("", text)


def reasoning_of(column: str, solution: str) -> str:
    """The steps of a solution: without <think>, and without the final answer in tags or after #### at its end.

    BadCell if there is a tag anywhere else: as a hint, such a solution would give the answer away.
    """
    text = solution.removeprefix("<think>").strip()
    if tag := _TAG.search(text):
        if _ENDING.fullmatch(text, tag.start()) is None:
            raise BadCell(
                f"holds {tag[0]} before its end",
                "end the solution there or remove the tag, as a hint must not give the answer away",
                column,
                f"at character {tag.start() + 1}",
            )
        text = text[: tag.start()].rstrip()
    return _MARKED.sub("", text).rstrip()


def bare_answer(column: str, answer: str) -> str:
    """The final answer, which must not contain answer tags, since they will be added around it."""
    if tag := _TAG.search(answer):
        raise BadCell(f"holds {tag[0]}", "write the bare answer", column, shown(answer))
    return answer


def countdown_truth(numbers_column: str, numbers: Any, target_column: str, target: Any) -> dict[str, Any]:
    """{"numbers", "target"} of a countdown problem; numbers may also be a text like 44 19 35, as in a CSV cell."""
    listed = _structure(numbers)
    if isinstance(listed, str) and re.fullmatch(r"\s*[0-9]{1,18}([\s,;]+[0-9]{1,18})*\s*", listed):
        listed = [int(number) for number in re.findall("[0-9]+", listed)]
    if not isinstance(listed, list) or not listed or not all(type(n) is int and 0 <= n < 2**63 for n in listed):
        raise BadCell("not a list of whole numbers", COUNTDOWN_NEEDS, numbers_column, shown(numbers))
    text = cell_text(target_column, target)
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise BadCell("not a whole number", COUNTDOWN_NEEDS, target_column, shown(text))
    return {"numbers": listed, "target": int(text)}


def kk_logic_truth(column: str, value: Any) -> dict[str, Any]:
    """The ground truth of a knights-and-knaves puzzle from an object or (in CSV) its JSON text.

    The reward checks its people and roles; the text of the solution is added if it is missing.
    """
    truth = _structure(value)
    if not isinstance(truth, dict) or not all(isinstance(truth.get(key), list) for key in ("names", "solution")):
        raise BadCell("not an object with the lists names and solution", KK_LOGIC_NEEDS, column, shown(value))
    people = enumerate(zip(truth["names"], truth["solution"], strict=False), start=1)
    lines = [f"({number}) {name} is a {'knight' if honest else 'knave'}" for number, (name, honest) in people]
    return {"solution_text_format": "\n".join(lines), **truth}


def _structure(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
