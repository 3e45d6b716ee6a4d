"""Command line of the countdown data: generate it, or import the UFT files or a list of numbers and targets.
Run as `python -m data_prep countdown --help`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from data_prep.commands import Parser, folder, one_line, whole
from data_prep.countdown.generate import prepare, row_key
from data_prep.countdown.profile import profile
from data_prep.countdown.published import HUB_DATASET, prepare_from_number_lists, prepare_from_uft
from data_prep.countdown.solver import OPERATORS
from data_prep.imported import comparison, tell
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
    return 0


def _prepare(options: argparse.Namespace) -> Prepared:
    if options.from_uft is not None:
        prepared, left_train, left_test = prepare_from_uft(options.from_uft, options.out)
        tell("train", left_train)
        tell("test", left_test)
        return prepared
    if options.from_hub is not None:
        prepared, left = prepare_from_number_lists(
            options.out, options.n_train, options.n_test, options.seed, options.from_hub
        )
        tell(options.from_hub, left)
        return prepared
    return prepare(
        options.out,
        options.n_train,
        options.n_test,
        options.seed,
        options.sizes,
        options.max_number,
        tuple(options.targets),
        options.operators,
        exclude={row_key(row) for path in options.exclude for row in read_rows(path)},
    )


def _parser() -> Parser:
    parser = Parser(prog="python -m data_prep countdown", description="Prepare countdown data.")
    parser.add_argument("--out", type=folder, default=Path("data/countdown"), help="folder for train and test.parquet")
    parser.add_argument("--n-train", type=whole(1), default=10_240, help="number of training problems")
    parser.add_argument("--n-test", type=whole(1), default=1_024, help="number of test problems")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 4], help="how many numbers a problem has (2 to 6)")
    parser.add_argument("--max-number", type=int, default=99, help="numbers are 1 to this")
    parser.add_argument("--targets", type=int, nargs=2, default=[10, 100], metavar=("LOW", "HIGH"))
    parser.add_argument("--operators", default=OPERATORS, help="what worked solutions may use (--operators=+- for two)")
    parser.add_argument(
        "--exclude", type=Path, nargs="+", default=[], metavar="PARQUET", help="keep the problems of these files out"
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
        help=f"import numbers and targets from the hub or a local copy instead (default {HUB_DATASET})",
    )
    return parser
