"""Command line of the countdown data: generate it, or import the UFT files or a list of numbers and targets.
Run as `python -m data_prep countdown --help`."""

from __future__ import annotations

from collections.abc import Sequence

from data_prep.commands import one_line, task_parser
from data_prep.countdown.generate import prepare, row_key
from data_prep.countdown.profile import profile
from data_prep.countdown.published import HUB_DATASET, prepare_from_number_lists, prepare_from_uft
from data_prep.countdown.solver import OPERATORS
from data_prep.imported import Sources, add_sources, written


@one_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the flags, writes the two files, says what was written and what was skipped."""
    parser = task_parser("countdown", "countdown", 10_240, 1_024)
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 4], help="how many numbers a problem has (2 to 6)")
    parser.add_argument("--max-number", type=int, default=99, help="numbers are 1 to this")
    parser.add_argument("--targets", type=int, nargs=2, default=[10, 100], metavar=("LOW", "HIGH"))
    parser.add_argument("--operators", default=OPERATORS, help="what worked solutions may use (--operators=+- for two)")
    add_sources(parser, "problems", HUB_DATASET, "numbers and targets from the hub or a local copy")
    o = parser.parse_args(arguments)
    sources = Sources(
        generated=lambda exclude: prepare(
            o.out, o.n_train, o.n_test, o.seed, o.sizes, o.max_number, tuple(o.targets), o.operators, exclude
        ),
        from_uft=prepare_from_uft,
        from_hub=lambda: prepare_from_number_lists(o.out, o.n_train, o.n_test, o.seed, o.from_hub),
        key=row_key,
        profile=profile,
    )
    print(written(o, sources))
    return 0
