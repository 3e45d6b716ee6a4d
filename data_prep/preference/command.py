"""Command line of the alignment data: `python -m data_prep preference helpsteer2 --out data/helpsteer2`.
Writes train.parquet and test.parquet and says what was skipped."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from data_prep.commands import Parser, folder, one_line, whole
from data_prep.preference import toy
from data_prep.preference.hub import HUB_TASKS, write_task
from data_prep.preference.split import Written


@one_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the flags, writes the two files; 2 if they cannot be made."""
    options = _parser().parse_args(arguments)
    written = _write(options, options.out or Path("data", options.name))
    for reason, number in written.left_out.items():
        print(f"skipped {number}: {reason}")
    print(written)
    return 0


def _write(options: argparse.Namespace, folder: Path) -> Written:
    given = {key: n for key in ("n_train", "n_test") if (n := getattr(options, key)) is not None}
    if options.name != toy.DATA_SOURCE:
        return write_task(options.name, folder, source=options.source, seed=options.seed, **given)
    if options.source is not None:
        raise ValueError(f"{toy.DATA_SOURCE} is generated; leave out --source")
    return toy.write_toy(folder, seed=options.seed, **given)


def _parser() -> Parser:
    parser = Parser(prog="python -m data_prep preference", description="Prepare alignment data.")
    parser.add_argument("name", choices=[toy.DATA_SOURCE, *HUB_TASKS])
    parser.add_argument("--out", type=folder, metavar="DIR", help="folder for the two files (default data/NAME)")
    parser.add_argument("--source", metavar="PATH", help="a local copy of the data set, or another name on the hub")
    parser.add_argument("--n-train", type=whole(1), help=f"rows (problems, of {toy.DATA_SOURCE}); default all (1024)")
    parser.add_argument("--n-test", type=whole(1), help=f"rows (problems, of {toy.DATA_SOURCE}); default all (128)")
    parser.add_argument("--seed", type=whole(0), default=0)
    return parser
