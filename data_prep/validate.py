"""`python -m data_prep validate FILE`: reports errors in a user's data, or how it is understood, and converts it.
Exit code 0 if the data can be used, 1 if not."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.commands import Parser, folder, share, whole
from data_prep.faults import CustomDataError, count, unsplit
from data_prep.files.columns import read_columns
from data_prep.files.examined import refuse_faulty, split_files
from data_prep.preference import local as preferences
from data_prep.preference import report as on_preferences
from data_prep.problems import prepare as problems
from data_prep.problems import report as on_problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Checks the file (and the test file), prints problems or a summary, writes the two parquet files with --out."""
    try:
        _validate(_parser().parse_args(arguments))
    except CustomDataError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _validate(options: Namespace) -> None:
    columns = read_columns(options.columns.split(",") if options.columns else ())
    examine: Any = partial(problems.examine, reward=options.reward, columns=columns)
    report: Any = on_problems
    write: Any = problems.write_problems
    # A reward judges answers to problems; preference data do not need one.
    if options.reward is None and preferences.looks_like_answers(options.file, columns):
        scale = {"score_min": options.score_min, "score_max": options.score_max}
        examine, report = partial(preferences.examine, columns=columns, **scale), on_preferences
        write = preferences.write_answers
    elif options.score_min is not None or options.score_max is not None:
        raise CustomDataError(f"--score-min, --score-max: {options.file} has no scored answers; remove these flags")
    first, *others = parts = [examine(path) for path in (options.file, options.test) if path is not None]
    refuse_faulty(*parts)
    test = others[0] if others else None
    split = partial(split_files, first, test, options.seed, options.test_share)
    print("\n\n".join([*(report.summary(part) for part in parts), *unsplit(split, test is not None)]))
    print("\n" + report.example(first.rows))
    if options.out is not None:
        data = write(first, test, options.out, options.seed, options.test_share)
        print(f"\n{data.train}: {count(data.n_train, 'row')}\n{data.test}: {count(data.n_test, 'row')}")
        print(f"train on them with {report.flags(first, data.train.parent)}")


def _parser() -> Parser:
    parser = Parser(
        prog="python -m data_prep validate", description="Check your own data file, and convert it for training."
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="jsonl, json, csv, tsv or parquet")
    parser.add_argument("--out", type=folder, metavar="DIR", help="write DIR/train.parquet and DIR/test.parquet")
    parser.add_argument(
        "--reward", metavar="NAME", help="countdown, kk_logic, math, or your own as path/to/file.py:function"
    )
    parser.add_argument("--columns", metavar="ROLE=COLUMN,..", help="for example question=problem,answer=solution")
    parser.add_argument("--score-min", type=float, metavar="X", help="the worst possible score, if not 0")
    parser.add_argument("--score-max", type=float, metavar="X", help="the best possible score, if not 1")
    tests = parser.add_mutually_exclusive_group()
    tests.add_argument("--test-share", type=share, default=0.1, help="share of the questions used for the test")
    tests.add_argument("--test", type=Path, metavar="FILE", help="file with the test rows, instead of a share")
    parser.add_argument("--seed", type=whole(0), default=0, help="random seed of the split")
    return parser
