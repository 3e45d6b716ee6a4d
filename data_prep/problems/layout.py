"""Which columns of a user's file contain the question, the solution and the answer, inferred from their names.
Example: problem, cot, answer -> question from column problem, solution from column cot, answer from column answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from data_prep.faults import Problem
from data_prep.files.columns import ANSWER, NUMBERS, QUESTION, SOLUTION, Columns, by_role
from data_prep.schema import COLUMNS

# A file with two of these has rows in the training format; a simple file may have one of them for its own purposes.
_TRAINING_FORMAT = {"hint", "data_source", "ability", "reward_model", "extra_info"}

_OWN_TRUTHS = ("countdown", "kk_logic")

COUNTDOWN_NEEDS = (
    "the countdown reward needs the numbers, e.g. [44, 19, 35], the target 98 and the answer 44 + (19 + 35)"
)
EXPECTED = (
    f"name them {' or '.join(QUESTION)}, and {' or '.join(ANSWER)}, or say --columns question=COLUMN,answer=COLUMN; "
    "answers to learn from stand under messages; prompt, completion; prompt, chosen, rejected (docs/alignment_data.md)"
)
KK_LOGIC_NEEDS = 'the kk_logic reward needs {"names": ["Zoey", "Ava"], "solution": [true, false]}, true for a knight'


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns by role. kind: "schema" (rows in the training format, ours or UFT's), "verl" (rows as verl reads
    them, with a ground truth but neither solution nor answer) or "simple".

    question: one column, or two whose texts are joined.
    """

    kind: str
    question: tuple[str, ...] = ()
    solution: str | None = None
    answer: str | None = None
    numbers: str | None = None
    target: str | None = None
    ground_truth: str | None = None

    def __str__(self) -> str:
        if self.kind == "schema":
            return "rows in the training format"
        if self.kind == "verl":
            return "rows in verl's format: question from column prompt, answer from column reward_model, no solutions"
        parts = {"question": " + ".join(self.question), "solution": self.solution, "answer": self.answer}
        parts |= {"numbers": self.numbers, "target": self.target, "ground truth": self.ground_truth}
        return ", ".join(f"{part} from column {column}" for part, column in parts.items() if column)


def understand(columns: Sequence[str], reward: str | None, given: Columns) -> tuple[Layout, list[Problem]]:
    """The layout of a file with these columns under this reward; with problems if columns are missing.

    given: the user's names of columns.
    """
    named = by_role(columns, given)
    has = ", ".join(columns)

    def first(aliases: Iterable[str]) -> str | None:
        return next((named[alias] for alias in aliases if alias in named), None)

    if len(_TRAINING_FORMAT & named.keys()) > 1:
        if (
            {"prompt", "reward_model"} <= {*columns}
            and not {"hint", "answer"} & {*columns}
            and reward not in _OWN_TRUTHS
        ):
            return Layout("verl", ("prompt",), answer="reward_model"), []
        missing = [column for column in COLUMNS if column not in columns]
        fix = f"add it: rows in the training format need {', '.join(COLUMNS)} (the file has {has})"
        return Layout("schema"), [Problem("this column is missing", fix, column=column) for column in missing]
    question = first(QUESTION)
    both = tuple(named[name] for name in ("instruction", "input") if name in named)
    questions = (question,) if question else both
    problems: list[Problem] = []
    if not questions and first(ANSWER) is None and reward not in _OWN_TRUTHS:
        return Layout("simple"), [Problem("no column of questions or answers", EXPECTED, detail=f"the file has {has}")]
    if not questions and reward != "countdown":
        problems.append(_missing("question", QUESTION, has, "or instruction and input"))
    solution = first(SOLUTION)
    if reward == "countdown":
        layout = Layout(
            "simple", questions, solution, first(("answer", "final_answer")), first(NUMBERS), first(("target",))
        )
        for part, column, names in (
            ("numbers", layout.numbers, NUMBERS),
            ("target", layout.target, ("target",)),
            ("answer", layout.answer, ("answer", "final_answer")),
        ):
            if column is None:
                problems.append(_missing(part, names, has, COUNTDOWN_NEEDS))
        return layout, problems
    if reward == "kk_logic":
        layout = Layout(
            "simple", questions, solution, first(("answer", "final_answer")), ground_truth=named.get("ground_truth")
        )
        if layout.ground_truth is None:
            problems.append(_missing("ground_truth", ("ground_truth",), has, KK_LOGIC_NEEDS))
        return layout, problems
    answer = first(ANSWER)
    if answer is None:
        problems.append(_missing("answer", ANSWER, has, "with the final answer alone"))
    elif reward is None and first(NUMBERS) and "target" in named:
        problems.append(
            Problem(
                "columns of numbers and targets look like countdown problems, which no answer can be compared with",
                "say --reward countdown, or --reward math if the answers are mathematics",
            )
        )
    return Layout("simple", questions, solution, answer), problems


def _missing(part: str, aliases: tuple[str, ...], has: str, more: str) -> Problem:
    say = f"{more}, or say --columns {aliases[0]}=COLUMN (the file has {has})"
    return Problem(f"no column for the {part}", f"name it {' or '.join(aliases)}, {say}")
