"""Alignment rows as each algorithm needs them: pairs (DPO), labels (KTO, UNA), scores (UNA), instructions (SFT, UFT).
Pure functions of the rows; rows that a view does not use are counted in its `left_out`, by reason.

Example: three rows of one group with scores 1.0, 0.4, 0.1 -> one pair (1.0 over 0.1), two labels, three scores.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, TypedDict, TypeVar

from data_prep.preference.schema import Row
from data_prep.schema import Message
from data_prep.split import shuffled

# Reasons why a view does not use rows.
INSTRUCTION = "instructions, which only the instruction view and the mixture use"
NO_INSTRUCTION = "not instructions"
NO_CONTRAST = "no other answer to their prompt has another score"
BETWEEN = "neither the best nor the worst answer to their prompt"


class Pair(TypedDict):
    prompt: list[Message]
    chosen: str
    rejected: str
    chosen_score: float
    rejected_score: float


class Labelled(TypedDict):
    prompt: list[Message]
    completion: str
    label: bool


class Scored(TypedDict):
    prompt: list[Message]
    completion: str
    score: float


class Instruction(TypedDict):
    prompt: list[Message]
    completion: str


T = TypeVar("T")


class View(list[T]):
    """A list of items. left_out: how many rows are in none of them, by reason."""

    def __init__(self, items: Iterable[T], left_out: Counter[str]) -> None:
        super().__init__(items)
        self.left_out: dict[str, int] = {reason: count for reason, count in left_out.items() if count}


def pairs(rows: Sequence[Row]) -> View[Pair]:
    """The best and the worst completion of each group (the first if there are ties), in order of the groups.

    Always chosen_score > rejected_score. Groups without two different completions of different score give no pair.
    """
    left_out: Counter[str] = Counter()
    found: list[Pair] = []
    for group in _groups(rows, left_out):
        extremes = _extremes(group)
        if extremes is None:
            left_out[NO_CONTRAST] += len(group)
            continue
        best, worst = extremes
        left_out[BETWEEN] += len(group) - 2
        found.append(
            {
                "prompt": best["prompt"],
                "chosen": best["completion"],
                "rejected": worst["completion"],
                "chosen_score": best["score"],
                "rejected_score": worst["score"],
            }
        )
    return View(found, left_out)


def binary(rows: Sequence[Row]) -> View[Labelled]:
    """Completions that are good (True) or bad (False).

    Rows with binary feedback keep their label; in any other group the best is good and the worst bad. A row alone in
    its group is good if its score is above 0.5.
    """
    left_out: Counter[str] = Counter()
    found: list[Labelled] = []
    for group in _groups(rows, left_out):
        if group[0]["feedback"] == "binary" or len(group) == 1:
            labels = [(row, row["score"] > 0.5) for row in group]
        elif (extremes := _extremes(group)) is not None:
            labels = [(extremes[0], True), (extremes[1], False)]
            left_out[BETWEEN] += len(group) - 2
        else:
            labels = []
            left_out[NO_CONTRAST] += len(group)
        for row, label in labels:
            found.append({"prompt": row["prompt"], "completion": row["completion"], "label": label})
    return View(found, left_out)


def scored(rows: Sequence[Row]) -> View[Scored]:
    """Completions with their scores, in order; binary feedback counts as scores 1 and 0.

    Raises:
        ValueError: naming the first row with pairwise feedback, which has no score.
    """
    left_out: Counter[str] = Counter()
    found: list[Scored] = []
    for number, row in enumerate(rows):
        if row["feedback"] == "pairwise":
            raise ValueError(
                f"row {number}, column feedback: pairwise, so no score is known, only which answer is the better one; "
                "use --feedback pairwise or --feedback binary"
            )
        if row["feedback"] == "instruction":
            left_out[INSTRUCTION] += 1
        else:
            found.append({"prompt": row["prompt"], "completion": row["completion"], "score": row["score"]})
    return View(found, left_out)


def instructions(rows: Sequence[Row]) -> View[Instruction]:
    """The rows with feedback "instruction", in order."""
    found: list[Instruction] = [
        {"prompt": row["prompt"], "completion": row["completion"]} for row in rows if row["feedback"] == "instruction"
    ]
    return View(found, Counter({NO_INSTRUCTION: len(rows) - len(found)}))


def mixed(
    alignment: Sequence[Row],
    instruction: Sequence[Row],
    ratio: float,
    seed: int,
    feedback: Literal["score", "binary"] = "score",
) -> View[Scored]:
    """Wang et al.'s mixture (arXiv 2410.21438): alignment data by score, and instructions as answers with score 1.

    For n alignment items, exactly round(ratio * n) instructions are drawn, and all are shuffled, both depending only on
    `seed`. Without alignment items all instructions are used, the paper's replacement for SFT.

    Args:
        alignment: rows whose instructions are ignored, so that the same rows may be given twice.
        instruction: rows of which only the instructions are used.
        feedback: "score", or "binary" for the labels of `binary` as scores 1 and 0.

    Raises:
        ValueError: for a negative ratio, more instructions than there are, or rows that `scored` refuses.
    """
    if not (math.isfinite(ratio) and ratio >= 0.0):
        raise ValueError(
            f"--sft_ratio {ratio}: must be 0 or more, such as 1 for as many instructions as scored answers"
        )
    if feedback == "binary":
        labelled = binary(alignment)
        left_out = Counter(labelled.left_out)
        items: list[Scored] = [
            {"prompt": item["prompt"], "completion": item["completion"], "score": float(item["label"])}
            for item in labelled
        ]
    else:
        known = scored(alignment)
        left_out, items = Counter(known.left_out), list(known)
    # Instructions in the alignment rows are not counted here.
    del left_out[INSTRUCTION]
    taught = instructions(instruction)
    wanted = _count(ratio, len(items)) if items else len(taught)
    if wanted > len(taught):
        raise ValueError(
            f"--sft_ratio {ratio} asks for {wanted} instructions beside {len(items)} scored answers, but there are "
            f"{len(taught)}; use --sft_ratio {math.floor(1e4 * len(taught) / len(items)) / 1e4} or less, or add some"
        )
    draw = random.Random(f"mixture {seed}")
    drawn = shuffled(taught, draw)[:wanted]
    left_out["instructions beyond the ratio"] = len(taught) - wanted
    items += [{"prompt": item["prompt"], "completion": item["completion"], "score": 1.0} for item in drawn]
    return View(shuffled(items, draw), left_out)


def _count(ratio: float, number: int) -> int:
    return math.floor(ratio * number + 0.5)


def _groups(rows: Sequence[Row], left_out: Counter[str]) -> list[list[Row]]:
    """Rows by group, with groups in order of their first row; instructions are skipped."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["feedback"] == "instruction":
            left_out[INSTRUCTION] += 1
        else:
            found.setdefault(row["group"], []).append(row)
    return list(found.values())


def _extremes(group: Sequence[Row]) -> tuple[Row, Row] | None:
    """(best, worst) of a group; None without two different completions of different score."""
    best = max(group, key=lambda row: row["score"])
    others = [row for row in group if row["score"] < best["score"] and row["completion"] != best["completion"]]
    return (best, min(others, key=lambda row: row["score"])) if others else None
