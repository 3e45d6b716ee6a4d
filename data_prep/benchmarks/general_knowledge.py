"""General knowledge questions with open answers (hub: MuskumPillerum/General-Knowledge) as rows for evaluation.
They are scored by the text of the answer (reward_fns/free_text.py), without a judge.

Example item: {"Question": "What is the capital of France?", "Answer": "Paris"} -> ground truth
{"answers": ["Paris"], "question": "What is the capital of France?"}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.files.tables import read_table
from data_prep.prompt_styles import Question, completion_prompt
from data_prep.schema import Row, build_row, write_rows
from reward_fns.free_text import normalise

DATA_SOURCE = "general_knowledge"
EXAMPLE = "Mount Everest"
HUB_DATASET = "MuskumPillerum/General-Knowledge"
# The first questions of the file, as in earlier evaluations with this data.
QUESTIONS = 3_000
_COLUMNS = ("Question", "Answer")


class SourceError(ValueError):
    """Data that is missing or not in the published format; the message names file, row and column."""


@dataclass(frozen=True)
class Questions:
    """The questions read. skipped: the number of rows of the source by reason."""

    rows: tuple[Row, ...]
    skipped: Mapping[str, int]


def prepare(out_dir: Path, source: str | None = None, seed: int = 0) -> Path:
    """Writes out_dir/test.parquet with the first QUESTIONS usable questions, prints what was skipped, returns the path.

    Args:
        source: a local file (parquet, csv, json, jsonl) or folder, or the name of a hub dataset; None is HUB_DATASET.
        seed: unused, since nothing is random; all `prepare` functions take one.

    Raises:
        SourceError: if the source cannot be loaded or lacks a column.
    """
    name = source or HUB_DATASET
    questions = read_questions(read_table(name, "train", _COLUMNS), name, QUESTIONS)
    path = out_dir / "test.parquet"
    write_rows(path, questions.rows)
    print(f"{path}: {len(questions.rows)} questions")
    for reason, count in questions.skipped.items():
        print(f"skipped {count}: {reason}")
    return path


def read_questions(items: Iterable[Mapping[str, Any]], name: str, most: int) -> Questions:
    """Rows for the first `most` different questions; a repeated question gets all its answers.

    Raises:
        SourceError: for a value that is not text, naming `name`, row and column; or if no question is usable.
    """
    found: dict[str, tuple[str, list[str]]] = {}
    skipped: Counter[str] = Counter()
    for number, item in enumerate(items):
        for column in _COLUMNS:
            if item[column] is not None and not isinstance(item[column], str):
                raise SourceError(f"{name}, row {number}, column {column}: must be text, got {item[column]!r}")
        question, answer = ((item[column] or "").strip() for column in _COLUMNS)
        same = normalise(question)
        if same is None:
            skipped["no question"] += 1
        elif normalise(answer) is None:
            skipped["no answer in words"] += 1
        elif same in found:
            answers = found[same][1]
            if answer in answers:
                skipped["the same question and answer again"] += 1
            else:
                skipped["the same question with another answer (kept as a further right answer)"] += 1
                answers.append(answer)
        elif len(found) < most:
            found[same] = (question, [answer])
    if not found:
        raise SourceError(f"{name}: no usable question")
    rows = [_row(question, answers, index) for index, (question, answers) in enumerate(found.values())]
    return Questions(tuple(rows), dict(skipped))


def _row(question: str, answers: list[str], index: int) -> Row:
    return build_row(
        prompt=completion_prompt(Question(question, EXAMPLE)),
        hint=[],
        final_answer=answers[0],
        data_source=DATA_SOURCE,
        ability="knowledge",
        ground_truth={"answers": answers, "question": question},
        index=index,
        split="test",
    )
