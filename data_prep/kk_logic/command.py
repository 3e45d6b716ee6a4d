"""Command line of the knights-and-knaves data: generate it, or import the UFT files or the hub's dataset.
Run as `python -m data_prep kk_logic --help`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data_prep.commands import one_line, task_parser
from data_prep.imported import Sources, add_sources, written
from data_prep.kk_logic.generate import prepare, row_key
from data_prep.kk_logic.profile import profile
from data_prep.kk_logic.published import HUB_DATASET, prepare_from_hub, prepare_from_uft
from data_prep.schema import read_rows


@one_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the flags, writes the two files, says what was written and what was skipped."""
    parser = task_parser("kk_logic", "knights-and-knaves", 4_500, 500, "puzzles")
    parser.add_argument(
        "--people", type=int, nargs="+", default=[3, 4, 5, 6, 7], help="how many people a puzzle has (2 to 8)"
    )
    add_sources(parser, "puzzles", HUB_DATASET, "the hub's dataset or a local copy of its folder")
    o = parser.parse_args(arguments)
    sources = Sources(
        generated=lambda exclude: prepare(o.out, o.n_train, o.n_test, o.seed, o.people, exclude),
        from_uft=prepare_from_uft,
        from_hub=lambda: prepare_from_hub(o.out, o.n_train, o.n_test, o.seed, o.from_hub, o.people),
        key=row_key,
        profile=profile,
    )
    prepared = written(o, sources)
    print(prepared)
    for path in (prepared.train, prepared.test):
        print(f"{path}: {_people(path)}")
    return 0


def _people(path: Path) -> str:
    # Said because a number of people can run out of different puzzles (2 people soon, 3 at some ten thousand).
    counts = Counter(len(row["reward_model"]["ground_truth"]["names"]) for row in read_rows(path))
    return "; ".join(f"{counts[people]} with {people} people" for people in sorted(counts))
