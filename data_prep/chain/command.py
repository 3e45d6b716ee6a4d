"""Command line of the chain data: `python -m data_prep chain --help`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_prep.chain.files import prepare
from data_prep.chain.problem import RULES
from data_prep.commands import Parser, folder, one_line, whole


@one_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the flags, writes the two files, says what was written."""
    parser = Parser(prog="python -m data_prep chain", description="Prepare chain data.")
    parser.add_argument("--out", type=folder, default=Path("data/chain"), help="folder for train and test.parquet")
    parser.add_argument("--n-train", type=whole(1), default=4_096, help="number of training problems")
    parser.add_argument("--n-test", type=whole(1), default=256, help="number of test problems, of each depth")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--rule", choices=RULES, default="sum", help="what an input does to the state")
    parser.add_argument("--states", type=int, default=4, help="how many states there are")
    parser.add_argument("--depth", type=int, default=10, help="inputs of a problem")
    parser.add_argument("--test-depths", type=int, nargs="+", default=[], help="further depths to test on")
    parser.add_argument("--table", type=int, default=0, help="which hidden table the rule table has")
    options = vars(parser.parse_args(arguments))
    print(prepare(options.pop("out"), **options))
    return 0
