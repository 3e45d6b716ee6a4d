"""Command line of the knights-and-knaves data: generate it, or import the UFT files or the hub's dataset.
Run as `python -m data_prep kk_logic --help`."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data_prep.commands import Parser, folder, one_line, whole
from data_prep.imported import comparison, tell
from data_prep.kk_logic.generate import prepare, row_key
from data_prep.kk_logic.profile import profile
from data_prep.kk_logic.published import HUB_DATASET, prepare_from_hub, prepare_from_uft
from data_prep.schema import read_rows
from data_prep.split import Prepared


@one_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the flags, writes the two files, says what was written and what was left out."""
    options = _parser().parse_args(arguments)
    prepared = _prepare(options)
    if options.compare is not None:
        print(comparison(profile(read_rows(prepared.train)), profile(read_rows(options.compare))))
    print(prepared)
    for path in (prepared.train, prepared.test):
        print(f"{path}: {_people(path)}")
    return 0


def _prepare(options: argparse.Namespace) -> Prepared:
    if options.from_uft is not None:
        prepared, left_train, left_test = prepare_from_uft(options.from_uft, options.out)
    elif options.from_hub is not None:
        prepared, left_train, left_test = prepare_from_hub(
            options.out, options.n_train, options.n_test, options.seed, options.from_hub, options.people
        )
    else:
        exclude = {row_key(row) for path in options.exclude for row in read_rows(path)}
        return prepare(options.out, options.n_train, options.n_test, options.seed, options.people, exclude)
    tell("train", left_train)
    tell("test", left_test)
    return prepared


def _people(path: Path) -> str:
    # Said because a number of people can run out of different puzzles (2 people soon, 3 at some ten thousand).
    counts = Counter(len(row["reward_model"]["ground_truth"]["names"]) for row in read_rows(path))
    return "; ".join(f"{counts[people]} with {people} people" for people in sorted(counts))


def _parser() -> Parser:
    parser = Parser(prog="python -m data_prep kk_logic", description="Prepare knights-and-knaves data.")
    parser.add_argument("--out", type=folder, default=Path("data/kk_logic"), help="folder for train and test.parquet")
    parser.add_argument("--n-train", type=whole(1), default=4_500, help="number of training puzzles")
    parser.add_argument("--n-test", type=whole(1), default=500, help="number of test puzzles")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument(
        "--people", type=int, nargs="+", default=[3, 4, 5, 6, 7], help="how many people a puzzle has (2 to 8)"
    )
    parser.add_argument(
        "--exclude", type=Path, nargs="+", default=[], metavar="PARQUET", help="keep the puzzles of these files out"
    )
    parser.add_argument(
        "--compare", type=Path, metavar="PARQUET", help="print our train file's profile beside this one's"
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--from-uft", type=Path, metavar="DIR", help="import train and test.parquet of the UFT repository instead"
    )
    source.add_argument(
        "--from-hub",
        nargs="?",
        const=HUB_DATASET,
        metavar="NAME_OR_PATH",
        help=f"import the hub's dataset or a local copy of its folder instead (default {HUB_DATASET})",
    )
    return parser
