"""The commands that prepare a task's data, e.g. `python -m data_prep countdown --help`: each parses its flags, writes
the files, and says what was written and what was skipped."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data_prep.commands import Parser, folder, one_line, task_parser, whole
from data_prep.faults import count
from data_prep.imported import Sources, add_sources, tell, written
from data_prep.schema import content_hash, read_rows, write_rows

Arguments = Sequence[str] | None


@one_line
def countdown(arguments: Arguments = None) -> int:
    """Generates countdown problems, or imports the UFT files or a list of numbers and targets."""
    from data_prep.countdown.generate import prepare, row_key
    from data_prep.countdown.profile import profile
    from data_prep.countdown.published import HUB_DATASET, prepare_from_number_lists, prepare_from_uft
    from data_prep.countdown.solver import OPERATORS

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


@one_line
def kk_logic(arguments: Arguments = None) -> int:
    """Generates knights-and-knaves puzzles, or imports the UFT files or the hub's dataset."""
    from data_prep.kk_logic.generate import prepare, row_key
    from data_prep.kk_logic.profile import profile
    from data_prep.kk_logic.published import HUB_DATASET, prepare_from_hub, prepare_from_uft

    parser = task_parser("kk_logic", "knights-and-knaves", 4_500, 500, "puzzles")
    people = "how many people a puzzle has (2 to 8)"
    parser.add_argument("--people", type=int, nargs="+", default=[3, 4, 5, 6, 7], help=people)
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
    # The distribution, because a number of people can run out of different puzzles (2 soon, 3 at ten thousand or so).
    for path in (prepared.train, prepared.test):
        counts = Counter(len(row["reward_model"]["ground_truth"]["names"]) for row in read_rows(path))
        print(f"{path}: {'; '.join(f'{counts[n]} with {n} people' for n in sorted(counts))}")
    return 0


@one_line
def chain(arguments: Arguments = None) -> int:
    """Generates chain problems."""
    from data_prep.chain.files import prepare
    from data_prep.chain.problem import RULES

    parser = task_parser("chain", "chain", 4_096, 256)
    parser.add_argument("--rule", choices=RULES, default="sum", help="what an input does to the state")
    parser.add_argument("--states", type=int, default=4, help="number of states")
    parser.add_argument("--depth", type=int, default=10, help="inputs per problem")
    deeper = "further depths to test on, with as many test problems each"
    parser.add_argument("--test-depths", type=int, nargs="+", default=[], help=deeper)
    parser.add_argument("--table", type=int, default=0, help="which hidden table the rule table uses")
    options = vars(parser.parse_args(arguments))
    print(prepare(options.pop("out"), **options))
    return 0


@one_line
def math(arguments: Arguments = None) -> int:
    """Converts the MATH data from the hub or a local copy."""
    from data_prep.math.convert import HUB_DATASET, LEVELS, prepare

    parser = task_parser("math", "MATH", None, 1024)
    source = f"a hub dataset, a folder with train and test files, or one file (default {HUB_DATASET})"
    parser.add_argument("--source", default=HUB_DATASET, metavar="NAME_OR_PATH", help=source)
    parser.add_argument("--levels", type=int, nargs="+", default=list(LEVELS), choices=range(1, 6), help="1 to 5")
    o = parser.parse_args(arguments)
    prepared, skipped_train, skipped_test = prepare(o.out, o.source, o.levels, o.n_test, o.seed, o.n_train)
    tell("train", skipped_train)
    tell("test", skipped_test)
    print(prepared)
    return 0


@one_line
def others(arguments: Arguments = None) -> int:
    """Collects evaluation benchmarks from the hub, a local folder or the UFT repository's file into test.parquet."""
    from data_prep.benchmarks.others import BENCHMARKS, BY_NAME, collect, load_uft

    about = "Prepare benchmarks for evaluation (never for training)."
    parser = Parser(prog="python -m data_prep others", description=about)
    parser.add_argument("--out", type=folder, default=Path("data/others"), help="folder for test.parquet")
    usual = [benchmark.name for benchmark in BENCHMARKS]
    parser.add_argument("--only", nargs="+", choices=list(BY_NAME), default=usual, help="default: all of them")
    source = parser.add_mutually_exclusive_group(required=True)
    local = {"dest": "folder", "type": Path, "metavar": "DIR"}
    source.add_argument("--from", "--source", **local, help="a folder with one file per benchmark (aime24.jsonl)")  # type: ignore[arg-type]
    source.add_argument("--from-hub", action="store_true", help="download from the Hugging Face hub")
    uft = "import data/others/test.parquet of the UFT repository"
    source.add_argument("--from-uft", type=Path, metavar="DIR", help=uft)
    options = parser.parse_args(arguments)
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


@one_line
def preference(arguments: Arguments = None) -> int:
    """Writes alignment data: the synthetic set, or one of the hub's."""
    from data_prep.preference import toy
    from data_prep.preference.hub import HUB_TASKS, write_task

    parser = Parser(prog="python -m data_prep preference", description="Prepare alignment data.")
    parser.add_argument("name", choices=[toy.DATA_SOURCE, *HUB_TASKS])
    parser.add_argument("--out", type=folder, metavar="DIR", help="folder for the two files (default data/NAME)")
    parser.add_argument("--source", metavar="PATH", help="a local copy of the data set, or another name on the hub")
    parser.add_argument("--n-train", type=whole(1), help=f"rows (problems, of {toy.DATA_SOURCE}); default all (1024)")
    parser.add_argument("--n-test", type=whole(1), help=f"rows (problems, of {toy.DATA_SOURCE}); default all (128)")
    parser.add_argument("--seed", type=whole(0), default=0)
    o = parser.parse_args(arguments)
    out = o.out or Path("data", o.name)
    given = {key: n for key in ("n_train", "n_test") if (n := getattr(o, key)) is not None}
    if o.name != toy.DATA_SOURCE:
        result = write_task(o.name, out, source=o.source, seed=o.seed, **given)
    elif o.source is not None:
        raise ValueError(f"{toy.DATA_SOURCE} is generated; remove --source")
    else:
        result = toy.write_toy(out, seed=o.seed, **given)
    for reason, number in result.left_out.items():
        print(f"skipped {number}: {reason}")
    print(result)
    return 0
