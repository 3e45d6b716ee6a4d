"""Repetitions and contradictions between the rows of a user's file, found while they are added.
Opposite labels for the same answer are an error; repetitions, ties and other differences are only noted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from data_prep.faults import Problem
from data_prep.preference.schema import Row


class History:
    """The rows added so far, by content. noted: harmless oddities, each with the rows concerned."""

    def __init__(self) -> None:
        # digest of the content -> (its score, the first row with it)
        self._first: dict[bytes, tuple[float, int]] = {}
        self.noted: dict[str, list[int]] = {}

    def note(self, what: str, number: int) -> None:
        """Notes an oddity of row `number`; `what` continues "rows that"."""
        self.noted.setdefault(what, []).append(number)

    def take(self, number: int, rows: Sequence[Row]) -> list[Problem]:
        """Adds the rows made from row `number`; returns how it contradicts an earlier row."""
        if len(rows) == 2 and rows[0]["group"] == rows[1]["group"]:
            self._take_pair(number, *rows)
            return []
        return [problem for row in rows for problem in self._take_answer(number, row)]

    def _take_pair(self, number: int, chosen: Row, rejected: Row) -> None:
        answers = [chosen["completion"], rejected["completion"]]
        if self._earlier(number, [chosen["prompt"], answers], chosen["score"]) is not None:
            self.note("repeat an earlier pair", number)
        elif _digest([chosen["prompt"], answers[::-1]]) in self._first:
            self.note("prefer the answer that an earlier row rejects", number)
        if chosen["score"] == rejected["score"]:
            self.note("score both answers alike and so give no pair", number)

    def _take_answer(self, number: int, row: Row) -> list[Problem]:
        earlier = self._earlier(number, [row["feedback"], row["prompt"], row["completion"]], row["score"])
        if earlier is None:
            return []
        score, first = earlier
        if score == row["score"]:
            self.note("repeat an earlier answer", number)
        elif row["feedback"] == "binary":
            what = "the same prompt and completion have the opposite label further up"
            return [Problem(what, "fix or delete one of the two", number, detail=f"row {first}")]
        else:
            self.note("give an earlier answer another score", number)
        return []

    def _earlier(self, number: int, said: list[object], score: float) -> tuple[float, int] | None:
        """The first (score, row) with this content; None if it is new, and then it is stored."""
        key = _digest(said)
        if key in self._first:
            return self._first[key]
        self._first[key] = (score, number)
        return None


def _digest(said: list[object]) -> bytes:
    return hashlib.sha256(json.dumps(said).encode()).digest()
