"""Command line of the MATH data: from the hub or a local copy to train and test files.
Run as `python -m data_prep math --help`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_prep.commands import Parser, folder, one_line, whole
from data_prep.imported import tell
from data_prep.math.convert import HUB_DATASET, LEVELS, prepare


@one_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the flags, writes the two files, says what was written and what was left out."""
    options = _parser().parse_args(arguments)
    prepared, left_train, left_test = prepare(
        options.out, options.source, options.levels, options.n_test, options.seed, options.n_train
    )
    tell("train", left_train)
    tell("test", left_test)
    print(prepared)
    return 0


def _parser() -> Parser:
    parser = Parser(prog="python -m data_prep math", description="Prepare the MATH data.")
    parser.add_argument("--out", type=folder, default=Path("data/math"), help="folder for train and test.parquet")
    parser.add_argument(
        "--source",
        default=HUB_DATASET,
        metavar="NAME_OR_PATH",
        help=f"a hub dataset, a folder with train and test files, or one file (default {HUB_DATASET})",
    )
    parser.add_argument("--levels", type=int, nargs="+", default=list(LEVELS), choices=range(1, 6), help="1 to 5")
    parser.add_argument("--n-test", type=whole(1), default=1024, help="number of test problems")
    parser.add_argument("--n-train", type=whole(1), help="number of training problems (default: all)")
    parser.add_argument("--seed", type=whole(0), default=0, help="draws the test problems and the order")
    return parser
