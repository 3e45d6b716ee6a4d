"""Command line of the MATH data: from the hub or a local copy to train and test files.
Run as `python -m data_prep math --help`."""

from __future__ import annotations

from collections.abc import Sequence

from data_prep.commands import one_line, task_parser
from data_prep.imported import tell
from data_prep.math.convert import HUB_DATASET, LEVELS, prepare


@one_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the flags, writes the two files, says what was written and what was skipped."""
    parser = task_parser("math", "MATH", None, 1024)
    parser.add_argument(
        "--source",
        default=HUB_DATASET,
        metavar="NAME_OR_PATH",
        help=f"a hub dataset, a folder with train and test files, or one file (default {HUB_DATASET})",
    )
    parser.add_argument("--levels", type=int, nargs="+", default=list(LEVELS), choices=range(1, 6), help="1 to 5")
    o = parser.parse_args(arguments)
    prepared, left_train, left_test = prepare(o.out, o.source, o.levels, o.n_test, o.seed, o.n_train)
    tell("train", left_train)
    tell("test", left_test)
    print(prepared)
    return 0
