"""The answers that a scorer is tested with, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reward_fns.audit.payloads import BLANKS, ENDLESS, executable, respaced
from reward_fns.audit.rows import CODE, AuditRow


@dataclass(frozen=True)
class Answer:
    """A response to a row, a description of it, and the file that it would create."""

    row: int
    what: str
    response: str
    canary: str = ""


def executables(rows: Sequence[AuditRow], folder: str) -> list[Answer]:
    found: list[Answer] = []
    for number, row in enumerate(rows):
        for at in range(len(executable(""))):
            for bare in (False, True):
                path = f"{folder}/{len(found)}"
                payload = executable(path)[at]
                found.append(Answer(number, payload, payload if bare else row.response(payload), path))
    return found


def endless(rows: Sequence[AuditRow]) -> list[Answer]:
    row = rows[0]
    framed = [Answer(0, name, row.response(text)) for name, text in ENDLESS.items()]
    return framed + [Answer(0, f"{name}, alone", text) for name, text in ENDLESS.items() if len(text) > 1000]


def empty(rows: Sequence[AuditRow]) -> list[Answer]:
    found: list[Answer] = []
    for number, row in enumerate(rows):
        found += [Answer(number, repr(blank), blank) for blank in BLANKS]
        found += [Answer(number, repr(row.final(blank)), row.final(blank)) for blank in ("", " ")]
    return found


def shams(rows: Sequence[AuditRow]) -> list[Answer]:
    """Every row with the solutions of the other rows, and with their bare answers."""
    return [
        Answer(number, f"the solution of row {at}", text)
        for number, row in enumerate(rows)
        for at, other in enumerate(rows)
        if other.answer != row.answer and other.truth != row.truth
        for text in (other.response(), other.final(other.answer))
    ]


def other_blanks(rows: Sequence[AuditRow]) -> list[Answer]:
    found = []
    for number, row in enumerate(rows):
        found += [Answer(number, repr(text[-30:]), text) for text in respaced(row.response())]
        # Indentation is part of a program.
        pads = ("\n",) if row.form == CODE else ("  ", "\n")
        found += [Answer(number, f"{pad!r} around it", row.response(f"{pad}{row.answer}{pad}")) for pad in pads]
    return found
