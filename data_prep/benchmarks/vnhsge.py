"""VNHSGE, the Vietnamese high school graduation exams (arXiv 2305.12199), as multiple-choice rows for evaluation.
Questions with images and essays are skipped and counted.

Example item: {"ID": "MET_Phy_IE_2019_3", "Image_Question": "", "Question": "Câu 3. ...\\nA. 10 mm.\\nB. 4 mm. ...",
"Choice": "D", "Image_Answer": "", "Explanation": "..."} -> ground truth {"choice": "D", "subject": "Physics",
"exam": "MET_Phy_IE_2019", "year": "2019", "id": "MET_Phy_IE_2019_3"}
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.commands import Parser
from data_prep.prompt_styles import Question, completion_prompt
from data_prep.schema import Row, build_row, write_rows

DATA_SOURCE = "vnhsge"
EXAMPLE = "B"
HOME = "https://github.com/Xdao85/VNHSGE"
LETTERS = "ABCD"
ESSAYS = "Literature"

_QUESTION_KEYS = ("Question", "Choice", "Image_Question")
# The folder of the evaluation exams in a copy of the repository.
_EVALUATION = Path("Dataset", "VNHSGE-V", "JSON format", "eval")
_OTHER_FILES = ("*.jsonl", "*.parquet", "*.csv")


class SourceError(ValueError):
    """Data that is missing or not in the published format; the message names file, item and key."""


@dataclass(frozen=True)
class Exams:
    """The questions read. skipped: the number of items by reason."""

    rows: tuple[Row, ...]
    skipped: Mapping[str, int]

    def summary(self) -> str:
        """Lines for the terminal: questions by subject, skipped items by reason."""
        subjects = Counter(row["reward_model"]["ground_truth"]["subject"] for row in self.rows)
        lines = [f"{len(self.rows)} questions: " + ", ".join(f"{n} {name}" for name, n in sorted(subjects.items()))]
        lines += [f"skipped {count}: {reason}" for reason, count in self.skipped.items()]
        return "\n".join(lines)


def prepare(out_dir: Path, source: str | None = None, seed: int = 0) -> Path:
    """Writes out_dir/test.parquet from published files and prints what was kept and skipped; returns its path.

    Args:
        source: a copy of the repository, its eval folder, the folder of one subject, or one JSON file.
        seed: unused, since nothing is random; all `prepare` functions take one.

    Raises:
        SourceError: without a source, or if it is not in the published format.
    """
    if source is None:
        raise SourceError(
            "VNHSGE is not on a data hub and has no licence that allows us to ship it; get it with `git clone "
            f"{HOME}` and give the copy as source (folder {_EVALUATION} or above)"
        )
    exams = read_exams(Path(source))
    path = out_dir / "test.parquet"
    write_rows(path, exams.rows)
    print(f"{path}: {exams.summary()}")
    return path


def read_exams(source: Path) -> Exams:
    """All usable questions under `source`, with files ordered by path."""
    rows: list[Row] = []
    skipped: Counter[str] = Counter()
    for file in _files(source):
        if file.parent.name == ESSAYS:
            skipped["an essay of Literature, which has no letter to compare"] += len(_items(file))
            continue
        for number, item in enumerate(_items(file)):
            reason = _unusable(item, f"{file}, item {number}")
            if reason:
                skipped[reason] += 1
            else:
                rows.append(_row(item, file, len(rows)))
    if not rows:
        reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
        raise SourceError(f"{source}: no usable question ({reasons or 'no items'})")
    return Exams(tuple(rows), dict(skipped))


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise SourceError(f"{source}: no such file or folder")
    # The repository also has training items, which must not be used for evaluation by accident.
    folder = next((source / below for below in (_EVALUATION, Path("eval")) if (source / below).is_dir()), source)
    files = sorted(folder.glob("*.json")) or sorted(folder.glob("*/*.json"))
    if not files:
        others = [path.name for pattern in _OTHER_FILES for path in folder.glob(f"**/{pattern}")]
        found = f"; it has {', '.join(sorted(others)[:5])}" if others else ""
        raise SourceError(f"{folder}: no <Subject>/*.json in it, as in {HOME}, {_EVALUATION}{found}")
    return files


def _items(file: Path) -> list[Any]:
    try:
        items = json.loads(file.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SourceError(f"{file}: not a JSON file ({error})") from None
    if not isinstance(items, list):
        raise SourceError(f"{file}: must be a list of items, is {type(items).__name__}")
    return items


def _unusable(item: Any, where: str) -> str | None:
    """Why an item is skipped, or None. Raises SourceError if it is not in the published format at all."""
    if not isinstance(item, Mapping):
        raise SourceError(f"{where}: must be an object, is {type(item).__name__}")
    for key in _QUESTION_KEYS:
        if key not in item:
            raise SourceError(f"{where}, key {key}: missing; the item has {', '.join(map(str, item))}")
        if item[key] is not None and not isinstance(item[key], str):
            raise SourceError(f"{where}, key {key}: must be text, got {item[key]!r}")
    if (item["Image_Question"] or "").strip():
        return "a question with an image"
    if not (item["Question"] or "").strip():
        return "no question text"
    gold = (item["Choice"] or "").strip()
    if not gold:
        return "no known answer"
    return None if gold in LETTERS and len(gold) == 1 else f"a known answer other than A, B, C, D: {gold!r}"


def _row(item: Mapping[str, Any], file: Path, index: int) -> Row:
    choice = item["Choice"].strip()
    year = re.search(r"(?<!\d)20\d\d(?!\d)", file.stem)
    return build_row(
        prompt=completion_prompt(Question(item["Question"], EXAMPLE)),
        hint=[],
        final_answer=choice,
        data_source=DATA_SOURCE,
        ability="exam",
        ground_truth={
            "choice": choice,
            "subject": file.parent.name,
            "exam": file.stem,
            "year": year[0] if year else "",
            "id": str(item.get("ID") or f"{file.stem}_{index}"),
        },
        index=index,
        split="test",
    )


def subject_table(results: Mapping[str, Any]) -> str:
    """Markdown: accuracy by subject, then their unweighted mean, and all questions together.

    Args:
        results: results.json of eval.evaluate, where an unreadable answer counts as wrong.

    Raises:
        SourceError: if VNHSGE was not evaluated in it.
    """
    subjects = results.get("groups", {}).get(DATA_SOURCE)
    if not subjects:
        raise SourceError(f"the results have no answers to {DATA_SOURCE} questions")
    keys = ("accuracy", "error_unreadable")
    mean = {key: sum(block[key] for block in subjects.values()) / len(subjects) for key in keys}
    together = results["sources"][DATA_SOURCE]
    lines = ["| subject | questions | accuracy | unreadable |", "|---|---|---|---|"]
    blocks = {**subjects, "mean over subjects": {"problems": together["problems"], **mean}, "all questions": together}
    for name, block in blocks.items():
        lines.append(f"| {name} | {block['problems']} | {block['accuracy']:.1%} | {block['error_unreadable']:.1%} |")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """`python -m data_prep vnhsge_table RESULTS`; returns the exit code."""
    about = "Accuracy by subject of an evaluation with VNHSGE questions."
    parser = Parser(prog="python -m data_prep vnhsge_table", description=about)
    parser.add_argument("results", type=Path, help="results.json of eval.evaluate")
    file: Path = parser.parse_args(arguments).results
    try:
        print(subject_table(json.loads(file.read_text(encoding="utf-8"))))
    except (OSError, ValueError, KeyError, AttributeError) as error:
        why = error.strerror if isinstance(error, OSError) else error if isinstance(error, SourceError) else None
        print(f"error: {file}: {why or 'is not the results.json of an evaluation'}", file=sys.stderr)
        return 2
    return 0
