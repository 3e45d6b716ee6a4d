"""Rows to test a scorer on: a few written for each kind of scorer, or those of a user's file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data_prep.faults import meant
from reward_fns.audit.names import VERL
from reward_fns.registry import REWARDS, AnswerFormat, is_custom

TAGS = " </think>\n<answer> {} </answer>"
BOX = "\nThe final answer is $\\boxed{{}}$"
HASHES = "\n#### {}"
LINE = "\nAnswer: {}"
CODE = "\n```python\n{}\n```"


@dataclass(frozen=True)
class AuditRow:
    """A question with its solution: the hint, then the answer in the format that the scorer reads."""

    question: str
    hint: str
    answer: str
    truth: Any
    form: str
    """With {} in place of the answer."""

    source: str = ""
    answer_format: AnswerFormat = "tags"

    def response(self, answer: str | None = None) -> str:
        """A complete response; with the row's own answer, its solution."""
        return self.hint + self.final(self.answer if answer is None else answer)

    def final(self, answer: str) -> str:
        """The answer in this row's form, without the reasoning."""
        return self.form.replace("{}", answer)


_MATH = (
    ("What is 8 times 9?", "Eight nines: 8 * 9 = 72.", "72"),
    ("What is a third plus a sixth?", "They are $\\frac{2}{6} + \\frac{1}{6}$.", "\\frac{1}{2}"),
    ("Solve x^2 = 5 for the positive x.", "It is positive.", "\\sqrt{5}"),
    ("How long is the way around a unit circle?", "Twice the radius times $\\pi$.", "2\\pi"),
    ("What is twice the vector (1, 2)?", "Each entry doubles.", "\\begin{pmatrix}2\\\\4\\end{pmatrix}"),
    ("Factor x^2 - 1.", "Its zeros are 1 and -1.", "(x-1)(x+1)"),
)
_INTEGERS = (
    ("What is 8 times 9?", "Eight nines: 8 * 9 = 72.", "72"),
    ("What is 25 minus 30?", "It is below zero.", "-5"),
    ("What is 1000 plus 234?", "We add: 1000 + 234 = 1234.", "1234"),
)
_COUNTDOWN = (
    ([44, 19, 35], 98, "19 + 35 = 54\n44 + 54 = 98\nTherefore, the final equation is 44 + (19 + 35)", "44 + (19 + 35)"),
    ([2, 3, 4], 24, "2 * 3 = 6\n6 * 4 = 24\nTherefore, the final equation is 2 * 3 * 4", "2 * 3 * 4"),
    ([10, 4, 2], 8, "4 / 2 = 2\n10 - 2 = 8\nTherefore, the final equation is 10 - 4 / 2", "10 - 4 / 2"),
)
_KNIGHTS = (
    (["Zoey", "Oliver"], [True, False], "Zoey cannot lie here."),
    (["Emma", "Liam"], [False, True], "Liam's words hold."),
    (["Ava", "Noah", "Mia"], [True, True, False], "Mia contradicts herself."),
)
_CHAINS = ((2, [1, 3], [3, 2]), (0, [2, 2, 1], [2, 0, 1]), (3, [1, 1, 1], [0, 1, 2]))
_CHOICES = (("B", "Sound needs matter."), ("D", "It is the largest."), ("A", "The sum is even."))
_FACTS = (
    ("What is the capital of France?", "It lies on the Seine.", "Paris"),
    ("Who wrote Faust?", "A poet of Weimar.", "Johann Wolfgang von Goethe"),
    ("Which metal is liquid at room temperature?", "Thermometers held it.", "mercury"),
)
_PROGRAMS = (
    (
        "Print the sum of two numbers.",
        "Read both.",
        "a = int(input())\nb = int(input())\nprint(a + b)",
        ("1\n2\n", "3\n"),
    ),
    ("Print a word twice.", "Read it.", "w = input()\nprint(w + w)", ("ab\n", "abab\n")),
)


def _numbers(
    form: str, table: tuple[tuple[str, str, str], ...], answer_format: AnswerFormat = "tags"
) -> list[AuditRow]:
    return [AuditRow(q, hint, answer, answer, form, "math", answer_format) for q, hint, answer in table]


def _targets(rows: list[AuditRow]) -> list[AuditRow]:
    """The same rows with the ground truth as in our own files."""
    return [replace(row, truth={"target": row.truth}) for row in rows]


def _roles(names: list[str], knights: list[bool]) -> str:
    listed = zip(names, knights, strict=True)
    return "\n".join(
        f"({n}) {name} is a {'knight' if is_one else 'knave'}" for n, (name, is_one) in enumerate(listed, 1)
    )


_OWN = {
    "countdown": [
        AuditRow(
            f"Reach {target} with {numbers}.", hint, answer, {"numbers": numbers, "target": target}, TAGS, "countdown"
        )
        for numbers, target, hint, answer in _COUNTDOWN
    ],
    "kk_logic": [
        AuditRow("Who is what?", hint, _roles(n, k), {"names": n, "solution": k}, TAGS, "kk_logic")
        for n, k, hint in _KNIGHTS
    ],
    "chain": [
        AuditRow(
            f"Start at {start} and add {', '.join(map(str, moves))} in turn, modulo 4.",
            "One after the other.\n",
            " ".join(f"({n}) {state}" for n, state in enumerate(states, 1)),
            {"rule": "sum", "states": 4, "table": 0, "start": start, "inputs": moves, "solution": states},
            TAGS,
            "chain",
        )
        for start, moves, states in _CHAINS
    ],
    "choice": [
        AuditRow("Which is right?", hint, letter, {"choice": letter}, TAGS, "vnhsge") for letter, hint in _CHOICES
    ],
    "free_text": [
        AuditRow(q, hint, fact, {"answers": [fact], "question": q}, TAGS, "general_knowledge")
        for q, hint, fact in _FACTS
    ],
    "math": _targets(_numbers(TAGS, _MATH) + _numbers(BOX, _MATH, "boxed")),
}
_VERLS = {
    "gsm8k": _numbers(HASHES, _INTEGERS),
    "math_reward": _numbers(BOX, _MATH),
    "math_batch": _numbers(BOX, _MATH),
    "math_dapo": _numbers(LINE, _INTEGERS),
    "math_verify": _numbers(BOX, _MATH),
    "prime_math": _numbers(BOX, _MATH),
    "geo3k": _numbers(" </think>" + BOX, _INTEGERS),
    "search_r1_like_qa_em": [AuditRow(q, hint, fact, {"target": [fact]}, TAGS) for q, hint, fact in _FACTS],
    "prime_code": [
        AuditRow(q, hint, program, json.dumps({"inputs": [case[0]], "outputs": [case[1]]}), CODE)
        for q, hint, program, case in _PROGRAMS
    ],
}
_NOT_HERE = {"rlla": "it judges tool calls of its own prompts", "sandbox_fusion": "it needs a sandbox server"}


def rows_for(spec: str, data: Path | None = None, limit: int = 12) -> list[AuditRow]:
    """The rows to test a scorer on: from a parquet file in our schema, or built-in ones.

    Raises:
        ValueError: for an unknown scorer, or one without built-in rows.
    """
    if data is not None:
        return list(_of_file(data, limit))
    if is_custom(spec):
        return _targets(_numbers(TAGS, _INTEGERS))
    known, name = (_VERLS, spec.removeprefix(VERL)) if spec.startswith(VERL) else (_OWN, spec)
    if name in known:
        return known[name]
    why = f": {_NOT_HERE[name]}." if known is _VERLS and name in _NOT_HERE else ""
    named = (*REWARDS, *(VERL + name for name in _VERLS))
    raise ValueError(
        f"no rows to test {spec} on{why or meant(spec, named)} Known: {', '.join(named)}, "
        f"or path/to/file.py:function with --data FILE.parquet"
    )


def _of_file(data: Path, limit: int) -> Iterator[AuditRow]:
    from data_prep.prompt_styles import question_text
    from data_prep.schema import ANSWER_CLOSES, ANSWER_OPENS, read_rows, unpacked

    for row in read_rows(data)[:limit]:
        hint = "".join(row["hint"])
        end = row["answer"][len(hint) :]
        tagged = end.startswith(ANSWER_OPENS) and end.endswith(ANSWER_CLOSES)
        answer = end[len(ANSWER_OPENS) : -len(ANSWER_CLOSES)] if tagged else end
        form = f"{ANSWER_OPENS}{{}}{ANSWER_CLOSES}" if tagged else "{}"
        truth, source = unpacked(row["reward_model"]["ground_truth"]), row["data_source"]
        yield AuditRow(question_text(row["prompt"]), hint, answer, truth, form, source, "tags" if tagged else "boxed")
