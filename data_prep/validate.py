"""`python -m data_prep validate FILE`: says what is wrong with a user's data, or how it is understood, and converts it.
Exit code 0 if the data can be used, 1 if not."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from data_prep.commands import Parser, folder, share, whole
from data_prep.faults import CustomDataError, count, named, quantiles, unsplit
from data_prep.files.columns import read_columns
from data_prep.preference.local import looks_like_answers
from data_prep.preference.report import validate
from data_prep.problems.prepare import BUILT_IN, CustomData, Examined, examine, split_files, write_examined
from data_prep.prompt_styles import question_text
from data_prep.schema import ANSWER_CLOSES, ANSWER_OPENS, Row

_ROWS_JUDGED = 32
_FAILED_AT_ONCE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Checks the file (and the test file), prints problems or a summary, writes the two parquet files with --out."""
    options = _parser().parse_args(arguments)
    try:
        # A reward judges answers to problems; what people or models said of answers needs none.
        columns = read_columns(options.columns.split(",") if options.columns else ())
        if options.reward is None and looks_like_answers(options.file, columns):
            validate(options, columns)
            return 0
        if options.score_min is not None or options.score_max is not None:
            raise CustomDataError(f"--score-min, --score-max: {options.file} holds no scored answers; leave them out")
        parts = [examine(path, options.reward, columns) for path in (options.file, options.test) if path is not None]
        complaints = [part.complaint() for part in parts if part.problems]
        if complaints:
            raise CustomDataError("\n".join(complaints))
        test = parts[1] if len(parts) > 1 else None
        split = partial(split_files, parts[0], test, options.seed, options.test_share)
        print("\n\n".join([*(summary(part) for part in parts), *unsplit(split, test is not None)]))
        print("\n" + example(parts[0].rows[0]))
        if options.out is not None:
            print("\n" + written(write_examined(parts[0], test, options.out, options.seed, options.test_share)))
    except CustomDataError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def summary(examined: Examined) -> str:
    """How a file without problems is understood: columns, reward, segments, lengths, oddities."""
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


def _oddities(examined: Examined) -> list[str]:
    notes = []
    first: dict[str, int] = {}
    again, torn = [], []
    for at, key in enumerate(examined.keys):
        earlier = first.setdefault(key, at)
        if earlier != at:
            again.append(examined.numbers[at])
            if _final_answer(examined.rows[at]) != _final_answer(examined.rows[earlier]):
                torn.append(examined.numbers[at])
    if again:
        notes.append(f"rows with an earlier question, put on its side of the split ({len(again):,}): {named(again)}")
    if torn:
        notes.append(f"those of them with another answer than the earlier row ({len(torn):,}): {named(torn)}")
    bare = sum(not "".join(row["hint"]).strip() for row in examined.rows)
    if bare:
        notes.append(f"rows without a solution ({bare:,}): no hint can be given, and sft learns the bare answer")
    return notes + _own_answers(examined)


def _final_answer(row: Row) -> str:
    whole = row["answer"][sum(map(len, row["hint"])) :]
    return whole.removeprefix(ANSWER_OPENS).removesuffix(ANSWER_CLOSES)


def _own_answers(examined: Examined) -> list[str]:
    """Whether the reward accepts the solutions of the file, tried on rows from all over it.

    Raises:
        CustomDataError: where it accepts so few of them that no training would start.
    """
    from reward_fns import LEAST_ACCEPTED, compute_score, has_failed, is_graded, told_once, told_when_slow

    graded = is_graded(examined.reward)
    step = max(1, len(examined.rows) // _ROWS_JUDGED)
    tried = list(zip(examined.rows, examined.numbers, strict=True))[::step][:_ROWS_JUDGED]
    failed, low = [], []
    with told_when_slow(examined.reward), told_once():
        for at, (row, number) in enumerate(tried, 1):
            truth, asked = row["reward_model"]["ground_truth"], {"question": question_text(row["prompt"])}
            found = compute_score(row["data_source"], row["answer"], truth, asked, reward=examined.reward)
            if has_failed(found):
                failed.append((number, str(found["pred"])))
                if len(failed) == at == _FAILED_AT_ONCE:  # it is the reward; the others would take as long again
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


def example(row: Row) -> str:
    """One row as the model meets it: the prompt, and the hint by segments with the answer that follows."""
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


def written(data: CustomData) -> str:
    """Where the two files are, and how to train on them."""
    # A built-in reward is found by the rows' data_source.
    reward = "" if data.reward is None or data.reward in BUILT_IN else f" --reward {data.reward}"
    return (
        f"{data.train}: {count(data.n_train, 'row')}\n{data.test}: {count(data.n_test, 'row')}\n"
        f"train on them with --data {data.train.parent}{reward}"
    )


def _parser() -> Parser:
    parser = Parser(
        prog="python -m data_prep validate", description="Check your own data file, and convert it for training."
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="jsonl, json, csv, tsv or parquet")
    parser.add_argument("--out", type=folder, metavar="DIR", help="write DIR/train.parquet and DIR/test.parquet")
    parser.add_argument(
        "--reward", metavar="NAME", help="countdown, kk_logic, math, or your own as path/to/file.py:function"
    )
    parser.add_argument("--columns", metavar="ROLE=COLUMN,..", help="question=problem,answer=solution, and the like")
    parser.add_argument("--score-min", type=float, metavar="X", help="the worst score answers can have, if not 0")
    parser.add_argument("--score-max", type=float, metavar="X", help="the best score answers can have, if not 1")
    tests = parser.add_mutually_exclusive_group()
    tests.add_argument("--test-share", type=share, default=0.1, help="share of the questions drawn for the test")
    tests.add_argument("--test", type=Path, metavar="FILE", help="file of the test rows, instead of a drawn share")
    parser.add_argument("--seed", type=whole(0), default=0, help="of the draw")
    return parser
