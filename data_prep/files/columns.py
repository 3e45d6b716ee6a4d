"""A user's names of columns: {"question": "problem"} says that the column problem contains the questions.
Messages use the file's own column names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from data_prep.faults import CustomDataError, Problem, meant

OF_PROBLEMS = ("question", "solution", "answer", "numbers", "target", "ground_truth")
OF_ANSWERS = (
    *("prompt", "chosen", "rejected", "completion", "label", "score", "chosen_score", "rejected_score"),
    *("messages", "instruction", "input", "output", "system"),
)
ROLES = (*OF_PROBLEMS, *OF_ANSWERS)

QUESTION = ("question", "problem", "prompt")
SOLUTION = ("solution", "reasoning", "cot", "rationale")
ANSWER = ("answer", "target", "final_answer", "ground_truth")
NUMBERS = ("numbers", "nums")
"""Common names of these four."""

Columns = Mapping[str, str]


def read_columns(words: Sequence[str]) -> dict[str, str]:
    """{role: column} from words such as "question=problem". CustomDataError for anything else."""
    found: dict[str, str] = {}
    for word in words:
        role, equals, column = (part.strip() for part in word.partition("="))
        if not equals or not column:
            raise CustomDataError(f"--columns {word}: write ROLE=COLUMN, such as question=problem")
        if role not in ROLES:
            raise CustomDataError(f"--columns {word}: {role} is no role{meant(role, ROLES)} Roles: {', '.join(ROLES)}")
        if role in found:
            raise CustomDataError(f"--columns: {role} is given twice")
        if column in found.values():
            other = next(name for name, of in found.items() if of == column)
            raise CustomDataError(f"--columns: {column} cannot be both {other} and {role}; give a column one role")
        found[role] = column
    return found


def by_role(columns: Sequence[str], given: Columns) -> dict[str, str]:
    """The file's columns by role, in lower case: by their own names, except for those assigned by `given`."""
    placed = {role: column for role, column in given.items() if column in columns}
    own = {name.lower(): name for name in reversed(columns) if name not in placed.values()}
    return {**own, **placed}


def missing_columns(columns: Sequence[str], given: Columns) -> list[Problem]:
    """A problem for each column of `given` that the file does not have."""
    fix = f"--columns must name columns of the file, which has {', '.join(columns)}"
    return [
        Problem("there is no such column", fix, column=column) for column in given.values() if column not in columns
    ]
