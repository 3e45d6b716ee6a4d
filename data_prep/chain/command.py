"""Command line of the chain data: `python -m data_prep chain --help`."""

from __future__ import annotations

from collections.abc import Sequence

from data_prep.chain.files import prepare
from data_prep.chain.problem import RULES
from data_prep.commands import one_line, task_parser


@one_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the flags, writes the two files, says what was written."""
    parser = task_parser("chain", "chain", 4_096, 256)
    parser.add_argument("--rule", choices=RULES, default="sum", help="what an input does to the state")
    parser.add_argument("--states", type=int, default=4, help="how many states there are")
    parser.add_argument("--depth", type=int, default=10, help="inputs of a problem")
    parser.add_argument(
        "--test-depths",
        type=int,
        nargs="+",
        default=[],
        help="further depths to test on, with as many test problems each",
    )
    parser.add_argument("--table", type=int, default=0, help="which hidden table the rule table has")
    options = vars(parser.parse_args(arguments))
    print(prepare(options.pop("out"), **options))
    return 0
