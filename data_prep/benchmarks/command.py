"""Command line of the evaluation benchmarks: from the hub, a local folder or the UFT repository's file to test.parquet.
Run as `python -m data_prep others --help`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data_prep.benchmarks.others import BENCHMARKS, BY_NAME, collect, load_uft
from data_prep.commands import Parser, folder, one_line
from data_prep.faults import count
from data_prep.schema import content_hash, write_rows


@one_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the flags, writes the file and says how many rows of which benchmark it holds."""
    options = _parser().parse_args(arguments)
    path = options.out / "test.parquet"
    warnings: list[str] = []
    if options.from_uft is not None:
        rows = load_uft(options.from_uft / "test.parquet")
    else:
        rows, warnings = collect(options.folder, options.only)
    write_rows(path, rows)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for name, number in Counter(row["data_source"] for row in rows).items():
        print(f"{name}: {count(number, 'row')}")
    print(f"{path}: {count(len(rows), 'row')}, content sha256 {content_hash(path)}")
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m data_prep others", description="Prepare benchmarks for evaluation (never for training)."
    )
    parser.add_argument("--out", type=folder, default=Path("data/others"), help="folder for test.parquet")
    parser.add_argument(
        "--only", nargs="+", choices=list(BY_NAME), default=[b.name for b in BENCHMARKS], help="default: all of them"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        *("--from", "--source"),
        dest="folder",
        type=Path,
        metavar="DIR",
        help="a folder with one file per benchmark (aime24.jsonl)",
    )
    source.add_argument("--from-hub", action="store_true", help="download from the Hugging Face hub")
    source.add_argument(
        "--from-uft", type=Path, metavar="DIR", help="import data/others/test.parquet of the UFT repository"
    )
    return parser
