"""The report of `python -m data_prep validate` on a file of problems: how it is understood, and what its reward says.
Example: "characters of the solution: 12 to 60, half up to 31, 95 % up to 55"."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data_prep.faults import CustomDataError, count, named, quantiles
from data_prep.hushed import hushed
from data_prep.problems.prepare import BUILT_IN, Problems
from data_prep.prompt_styles import question_text
from data_prep.schema import ANSWER_CLOSES, ANSWER_OPENS, Row

_ROWS_JUDGED = 32
_FAILED_AT_ONCE = 2
_SENTENCE_WORDS = 5
_WORD = re.compile(r"(?<!\\)\b[^\W\d_]{2,}")


def summary(examined: Problems) -> str:
    """How a file without errors is understood: columns, reward, segments, lengths, oddities."""
    rows = examined.rows
    worked = [len(row["hint"]) for row in rows if "".join(row["hint"]).strip()]
    questions = [len(row["prompt"][-1]["content"]) for row in rows]
    hints = [sum(map(len, row["hint"])) for row in rows]
    answers = [len(_final_answer(row)) for row in rows]
    lines = [
        f"{examined.source.path}: {count(len(rows), 'row')} ({examined.source.counting})",
        f"  columns   {examined.layout}",
        f"  reward    {examined.reward or _rewards_of(rows)}",
        f"  solutions in {count(len(worked), 'row')}" + (f"; {quantiles(worked)} segments" if worked else ""),
        f"  characters of the prompt: {quantiles(questions)}",
        f"  characters of the solution: {quantiles(hints)}",
        f"  characters of the final answer: {quantiles(answers)}",
    ]
    return "\n".join(lines + [f"  note: {note}" for note in [*examined.source.notes, *_oddities(examined)]])


def _rewards_of(rows: Sequence[Row]) -> str:
    sources = Counter(row["data_source"] for row in rows)
    told = [f"{source} ({count(number, 'row')})" for source, number in sources.most_common()]
    return f"by data_source: {', '.join(told)}"


def _oddities(examined: Problems) -> list[str]:
    notes = []
    first: dict[str, int] = {}
    again, differing = [], []
    for at, key in enumerate(examined.keys):
        earlier = first.setdefault(key, at)
        if earlier != at:
            again.append(examined.numbers[at])
            if _final_answer(examined.rows[at]) != _final_answer(examined.rows[earlier]):
                differing.append(examined.numbers[at])
    if again:
        notes.append(f"rows with an earlier question, put on its side of the split ({len(again):,}): {named(again)}")
    if differing:
        notes.append(f"those of them with another answer than the earlier row ({len(differing):,}): {named(differing)}")
    bare = sum(not "".join(row["hint"]).strip() for row in examined.rows)
    if bare:
        notes.append(f"rows without a solution ({bare:,}): no hint can be given, and sft learns the bare answer")
    sentences = [number for row, number in zip(examined.rows, examined.numbers, strict=True) if _is_sentence(row)]
    if sentences:
        notes.append(
            f"answers that are sentences ({len(sentences):,}): {named(sentences)}. The math reward compares values; "
            "compare texts by a reward of your own, --reward FILE.py:FUNCTION (docs/rewards.md)"
        )
    return notes + _own_answers(examined)


def _is_sentence(row: Row) -> bool:
    return row["data_source"] == "math" and len(_WORD.findall(_final_answer(row))) >= _SENTENCE_WORDS


def _final_answer(row: Row) -> str:
    whole = row["answer"][sum(map(len, row["hint"])) :]
    return whole.removeprefix(ANSWER_OPENS).removesuffix(ANSWER_CLOSES)


def _own_answers(examined: Problems) -> list[str]:
    """Notes on whether the reward accepts the solutions in the file, tested on rows spread over it.

    Raises:
        CustomDataError: if it accepts so few of them that training would not start.
    """
    from reward_fns import LEAST_ACCEPTED, compute_score, has_failed, is_graded, told_when_slow

    graded = is_graded(examined.reward)
    step = max(1, len(examined.rows) // _ROWS_JUDGED)
    tried = list(zip(examined.rows, examined.numbers, strict=True))[::step][:_ROWS_JUDGED]
    failed, low = [], []
    with told_when_slow(examined.reward), hushed("reward_fns"):
        for at, (row, number) in enumerate(tried, 1):
            truth, asked = row["reward_model"]["ground_truth"], {"question": question_text(row["prompt"])}
            found = compute_score(row["data_source"], row["answer"], truth, asked, reward=examined.reward)
            if has_failed(found):
                failed.append((number, str(found["pred"])))
                if len(failed) == at == _FAILED_AT_ONCE:  # the reward is broken, and the others would take as long
                    tried = tried[:at]
                    break
            elif found["score"] != 1.0 and not graded:
                low.append(number)
    notes = []
    if failed:
        more = f" (and on {len(failed) - 1:,} more of the {len(tried):,} tried)" if failed[1:] else ""
        notes.append(f"the reward failed on row {failed[0][0]}: {failed[0][1]}{more}")
    if low:
        notes.append(f"the reward is below 1 for the file's own answer in {count(len(low), 'row')} tried: {named(low)}")
    if len(tried) - len(failed) - len(low) < LEAST_ACCEPTED * len(tried):
        raise CustomDataError(f"{examined.source.path}: {'; '.join(notes)}. Fix the answers or the --reward")
    return notes


def example(rows: Sequence[Row]) -> str:
    """The first row as the model sees it: the prompt, and the hint by segments with the answer after it."""
    row = rows[0]
    segments = [f"  {number}. {segment!r}" for number, segment in enumerate(row["hint"], start=1)]
    return "\n".join(
        [
            "The first row's prompt:",
            *(f"  | {line}" for message in row["prompt"] for line in message["content"].split("\n")),
            "its hint, by segments:" if segments else "no hint",
            *segments,
            f"its answer: {_final_answer(row)}",
        ]
    )


def flags(examined: Problems, folder: Path) -> str:
    """The flags to train on the file."""
    # Built-in rewards are determined by the rows' data_source.
    own = examined.reward is not None and examined.reward not in BUILT_IN
    return f"--data {folder}" + (f" --reward {examined.reward}" if own else "")
