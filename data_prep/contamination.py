"""Finds questions that a train file shares with evaluation files, and repetitions within a file.
Example: countdown [44, 19, 35] -> 98 in train.parquet and [19, 35, 44] -> 98 in test.parquet are the same question."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.commands import Parser, one_line
from data_prep.faults import count
from data_prep.prompt_styles import read_completion
from data_prep.schema import read_columns, unpacked

SAME_TEXT = "same question, letter for letter"
SAME_WORDS = "same question but for spelling"
SAME_NUMBERS = "same numbers and target"
SAME_STATEMENTS = "same people and statements"
SAME_INPUTS = "same start and inputs"
SAME_SOLUTION = "same solution"

_COLUMNS = ("prompt", "hint", "answer", "reward_model")
_SHOWN = 5
# Different questions share short solutions ("5 + 5 = 10") and bare answers; longer ones belong to one question.
_TELLING_CHARS = 80

_TRANSLATE = str.maketrans({**dict.fromkeys("‐‑‒–—―−", "-"), "×": "*", "·": "*", "⋅": "*", "÷": "/", "’": "'"})
# LaTeX that changes the look of a formula, not its meaning.
_SPACING = re.compile(r"\\(?:[,;:! ()\[\]]|quad\b|qquad\b|left\b|right\b|displaystyle\b|,)|\{,\}|[~$\"'`“”„‘«»?]")
_FRACTION = re.compile(r"\\[dt]frac\b")
# Characters between digits or symbols are significant (12/3 is not 123, 1.5 is not 15); prose punctuation is removed.
_HYPHEN = re.compile(r"(?<=[^\W\d_]{2})-(?=[^\W\d_]{2})")
_STOPS = re.compile(r"[.,:](?!\s*\d)|(?<!\d)[,:]|(?<![\d)\]])(?<!\b[a-z])!|;")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


class ContaminationError(ValueError):
    """Training would use questions of an evaluation file; the message names the rows and the fix."""


@dataclass(frozen=True, slots=True)
class Match:
    """A row of an evaluation file whose question is also in the train file, in `train_rows` (from 0)."""

    evaluation: Path
    row: int
    train_rows: tuple[int, ...]
    reason: str
    question: str


@dataclass(frozen=True, slots=True)
class Repeat:
    """A row (from 0) with the question of an earlier row of the same file."""

    file: Path
    row: int
    first: int
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """The findings. rows: number of rows by file. same_files: evaluation files identical to the train file."""

    train: Path
    rows: Mapping[Path, int]
    matches: tuple[Match, ...]
    repeats: tuple[Repeat, ...]
    same_files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    question: str
    key: str
    solution: str | None
    same_key: str


def normalise(text: str) -> str:
    """`text` for comparisons: NFKC, lower case, without spaces, prose punctuation and LaTeX spacing."""
    text = unicodedata.normalize("NFKC", text.translate(_TRANSLATE)).lower()
    text = _FRACTION.sub(r"\\frac", _SPACING.sub(" ", text))
    text = _STOPS.sub(" ", _THOUSANDS.sub("", _HYPHEN.sub("", text)))
    return re.sub(r"\s+", "", text)


def question_text(prompt: Sequence[Mapping[str, Any]]) -> str:
    """The question in a row's prompt: inside the frame of the completion style, or the last user message as it is."""
    content = next((str(message["content"]) for message in reversed(prompt) if message["role"] == "user"), "")
    question = read_completion(content)
    return content if question is None else question.text


def question_key(row: Mapping[str, Any]) -> str:
    """A key that is equal for rows with the same question.

    Countdown problems are identified by their numbers in any order and target; logic puzzles by people and statements;
    chains by rule, start and inputs; all other questions by their normalised text.
    """
    return _identity(row["reward_model"]["ground_truth"], question_text(row["prompt"]))[0]


def _identity(truth: Any, question: str) -> tuple[str, str]:
    truth = unpacked(truth)
    if isinstance(truth, Mapping):
        numbers, target = truth.get("numbers"), truth.get("target")
        if isinstance(numbers, list) and target is not None and all(type(number) is int for number in numbers):
            return f"countdown {sorted(numbers)} {target}", SAME_NUMBERS
        names, statements = truth.get("names"), truth.get("statements")
        if isinstance(names, list) and statements is not None:
            return f"people {names} {statements}", SAME_STATEMENTS
        inputs, start = truth.get("inputs"), truth.get("start")
        if isinstance(inputs, list) and start is not None:
            return f"chain {truth.get('rule')} {truth.get('states')} {truth.get('table')} {start} {inputs}", SAME_INPUTS
    return "text " + normalise(question), SAME_WORDS


def overlaps(train: Path, evaluations: Sequence[Path]) -> Report:
    """Compares the parquet file `train` with each evaluation file. ValueError names a file that cannot be read."""
    entries = {path: _entries(path) for path in dict.fromkeys((train, *evaluations))}
    by_key = _rows_by(entry.key for entry in entries[train])
    by_solution = _rows_by(entry.solution for entry in entries[train])
    matches: list[Match] = []
    for path in dict.fromkeys(evaluations):
        for number, entry in enumerate(entries[path]):
            if rows := by_key.get(entry.key):
                identical = any(entries[train][row].question == entry.question for row in rows)
                reason = SAME_TEXT if identical else entry.same_key
            elif rows := by_solution.get(entry.solution):
                reason = SAME_SOLUTION
            else:
                continue
            matches.append(Match(path, number, tuple(rows), reason, entry.question))
    return Report(
        train=train,
        rows={path: len(listed) for path, listed in entries.items()},
        matches=tuple(matches),
        repeats=tuple(repeat for path, listed in entries.items() for repeat in _repeats(path, listed)),
        same_files=tuple(path for path in dict.fromkeys(evaluations) if entries[path] == entries[train]),
    )


def _rows_by(keys: Any) -> dict[str | None, list[int]]:
    rows: dict[str | None, list[int]] = {}
    for number, key in enumerate(keys):
        if key is not None:
            rows.setdefault(key, []).append(number)
    return rows


def _repeats(path: Path, entries: Sequence[_Entry]) -> list[Repeat]:
    first: dict[str, int] = {}
    found = []
    for number, entry in enumerate(entries):
        earlier = first.setdefault(entry.key, number)
        if earlier != number:
            identical = entries[earlier].question == entry.question
            found.append(Repeat(path, number, earlier, SAME_TEXT if identical else entry.same_key))
    return found


def _entries(path: Path) -> list[_Entry]:
    entries = []
    for number, row in enumerate(read_columns(path, _COLUMNS)):
        try:
            question = question_text(row["prompt"])
            key, same_key = _identity(row["reward_model"]["ground_truth"], question)
            worked = "".join(row["hint"] or ()).strip()
            # Chains with different inputs may have the same states.
            telling = len(worked) >= _TELLING_CHARS and same_key != SAME_INPUTS
            solution = row["answer"].strip() if telling else None
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise ValueError(
                f"{path}, row {number}: not in the row format ({type(error).__name__}: {error}); "
                f"`python3 -m data_prep validate {path}` shows what is wrong"
            ) from None
        entries.append(_Entry(question, key, solution, same_key))
    return entries


def describe(report: Report) -> str:
    """The report as text: counts by file and reason, and the first rows of each."""
    lines = [f"train: {report.train} ({count(report.rows[report.train], 'row')}; rows are named from 0)"]
    for path in report.rows:
        repeats = [repeat for repeat in report.repeats if repeat.file == path]
        if repeats:
            lines.append(f"{path}: rows that repeat an earlier one of this file: {len(repeats)}")
            lines += [f"  row {repeat.row}: {repeat.reason} as row {repeat.first}" for repeat in repeats[:_SHOWN]]
            lines += _further(len(repeats))
    for path in [path for path in report.rows if path != report.train] or list(report.same_files):
        matches = [match for match in report.matches if match.evaluation == path]
        lines.append(f"{path}: {len(matches)} of {count(report.rows[path], 'row')} in the train file")
        if path in report.same_files:
            lines.append("  it holds exactly the rows of the train file")
        lines += [f"  {_line(match)}" for match in matches[:_SHOWN]] + _further(len(matches))
    return "\n".join(lines)


def raise_if_overlap(report: Report, allow: bool) -> None:
    """ContaminationError if the train file has a question of an evaluation file, unless `allow`."""
    if allow or not report.matches:
        return
    shown = [f"  {match.evaluation} {_line(match)}" for match in report.matches[:_SHOWN]]
    raise ContaminationError(
        f"{report.train} holds {len(report.matches)} questions of the evaluation data (rows from 0):\n"
        + "\n".join(shown + _further(len(report.matches)))
        + "\nremove those rows from the train file, or accept results on seen questions with --allow_overlap"
    )


def _line(match: Match) -> str:
    rows = ", ".join(map(str, match.train_rows[:_SHOWN])) + (", ..." if len(match.train_rows) > _SHOWN else "")
    question = " ".join(match.question.split())
    question = question if len(question) <= 70 else question[:67] + "..."
    return f"row {match.row} = train row {rows} ({match.reason}): {question}"


def _further(count: int) -> list[str]:
    return [f"  ... and {count - _SHOWN} more"] if count > _SHOWN else []


@one_line
def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m data_prep overlap TRAIN EVAL...`: prints the report; 1 if they overlap, 2 if a file is unreadable."""
    parser = Parser(
        prog="python -m data_prep overlap", description="Which questions do a train file and evaluation files share?"
    )
    parser.add_argument("train", type=Path, metavar="TRAIN", help="parquet file to train on")
    parser.add_argument("evaluations", type=Path, nargs="+", metavar="EVAL", help="parquet files to evaluate on")
    options = parser.parse_args(arguments)
    report = overlaps(options.train, options.evaluations)
    print(describe(report))
    return 1 if report.matches else 0
