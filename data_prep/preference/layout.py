"""Which columns of a user's file contain prompts, completions and feedback, inferred from their names.
Example: prompt, completion, label -> rows labelled good or bad. A file may mix labelled answers and instructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from data_prep.faults import Problem
from data_prep.files.columns import ANSWER, QUESTION, Columns, by_role
from data_prep.preference.schema import COLUMNS

# The layouts of a row, the first that fits: the parts that identify it, and all parts it may use.
PAIR, COMPLETION, OUTPUT, MESSAGES, ROWS = "pair", "completion", "output", "messages", "rows"
_TELLS = {PAIR: ("chosen", "rejected"), COMPLETION: ("completion",), OUTPUT: ("output",), MESSAGES: ("messages",)}
_USES = {
    PAIR: (
        *("system", "prompt", "messages", "instruction", "input", "history"),
        *("chosen", "rejected", "chosen_score", "rejected_score"),
    ),
    COMPLETION: ("system", "prompt", "completion", "label", "score"),
    OUTPUT: ("system", "instruction", "input", "history", "output"),
    MESSAGES: ("system", "messages"),
}
_TITLES = {
    PAIR: "a better and a worse answer",
    COMPLETION: "a prompt and its completion",
    OUTPUT: "an instruction and its output",
    MESSAGES: "conversations to learn from",
    ROWS: "rows in the alignment format",
}
# The second names are those of the hub's binarized UltraFeedback, the files of ShareGPT and LLaMA-Factory, and Orca's
# pairs.
_NAMES = {
    "chosen_score": ("chosen_score", "score_chosen"),
    "rejected_score": ("rejected_score", "score_rejected"),
    "messages": ("messages", "conversations"),
    "prompt": ("prompt", "question"),
    "label": ("label", "kto_tag"),
}

LAYOUTS = (
    "prompt (or instruction and input, or conversations), chosen and rejected; prompt, completion and label (or "
    "score); messages (ShareGPT's conversations); prompt and completion; instruction, input and output; beside them a "
    "system prompt: system"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The possible layouts of the rows of a file, in order of precedence; columns: part -> column."""

    kinds: tuple[str, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)

    def kind_of(self, cells: dict[str, Any]) -> str:
        """The layout of this row: the first kind with a non-empty identifying cell, or else the file's first kind."""
        for kind in self.kinds if len(self.kinds) > 1 else ():
            if any(cells.get(self.columns.get(part, "")) not in (None, "") for part in _TELLS[kind]):
                return kind
        return self.kinds[0]

    def used(self, kinds: Sequence[str]) -> list[str]:
        """The columns that rows laid out in one of these ways may have."""
        parts = dict.fromkeys(part for kind in kinds for part in _USES.get(kind, ()) if part in self.columns)
        return [self.columns[part] for part in parts]

    @property
    def scores(self) -> list[str]:
        """The score columns."""
        return [self.columns[part] for part in ("score", "chosen_score", "rejected_score") if part in self.columns]

    def __str__(self) -> str:
        parts = []
        for kind in self.kinds:
            used = ", ".join(self.used([kind]))
            parts.append(_TITLES[kind] + (f" ({used})" if used else ""))
        return "; or ".join(parts)


def answers_by(columns: Sequence[str], given: Columns) -> bool:
    """Whether columns with these names are preference data, not problems with solutions.

    given: the user's names of columns.
    """
    named = by_role(columns, given).keys()
    if set(COLUMNS) <= named or named & {"chosen", "rejected"}:
        return True
    problems = named & set(QUESTION) and named & set(ANSWER)
    return not problems and bool(named & {"completion", *_NAMES["messages"]} or {"instruction", "output"} <= named)


def understand(columns: Sequence[str], given: Columns) -> tuple[Layout, list[Problem]]:
    """The layout of a file with these columns; with problems if some are missing or ambiguous.

    given: the user's names of columns.
    """
    named = by_role(columns, given)
    has = f"the file has {', '.join(columns)}"
    if set(COLUMNS) <= named.keys():
        return Layout((ROWS,)), []
    parts = dict.fromkeys(part for used in _USES.values() for part in used)
    aliases = {part: _NAMES.get(part, (part,)) for part in parts}
    found = {
        part: named[name] for part, names in aliases.items() if (name := next((n for n in names if n in named), ""))
    }
    judged = None
    if "messages" in found and "completion" not in found and "label" in found:
        # What is judged is the last answer of a conversation.
        found["completion"] = judged = found.pop("messages")
    kinds = tuple(kind for kind, tells in _TELLS.items() if any(part in found for part in tells))
    problems: list[Problem] = []

    def demand(condition: bool, what: str, fix: str, column: str | None = None) -> None:
        if not condition:
            problems.append(Problem(what, f"{fix} ({has})", column=column))

    demand(bool(kinds), "no columns of answers", f"name them {LAYOUTS}")
    if PAIR in kinds:
        for part, other in (("chosen", "rejected"), ("rejected", "chosen")):
            demand(part in found, f"there is a column {other}, but none named {part}", "add it", part)
        for part, other in (("chosen_score", "rejected_score"), ("rejected_score", "chosen_score")):
            demand(part in found or other not in found, f"there is a column {other}, but none named {part}", "add it")
    if COMPLETION in kinds:
        demand("prompt" in found or judged is not None, "no column for the prompt", "name it prompt")
        both = "label" in found and "score" in found
        demand(not both, "both a label and a score are given", "delete the column that should not count, or rename it")
    else:
        for part in ("label", "score"):
            fix = "name the answers' column completion, or delete this one"
            demand(part not in found, f"a {part} without a column of completions", fix, found.get(part))
    if OUTPUT in kinds:
        demand("instruction" in found, "no column for the instruction", "name it instruction")
    return Layout(kinds, found), problems
