"""Trials of the reward functions on the command line.

    python -m reward_fns selftest [--task countdown]       labelled answers, error rates, throughput
    python -m reward_fns fuzz --task kk_logic --n 1000000  random and adversarial answers
    python -m reward_fns audit math my_reward.py:reward verl:prime_math    what to know before training on a scorer
Exit code 1 if a reward misjudged any trial, or an audit found a fault.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep.commands import Parser, whole
from reward_fns.audit import audit
from reward_fns.audit import describe as describe_audit
from reward_fns.registry import REWARDS
from reward_fns.trials.fuzz import FUZZED, fuzz
from reward_fns.trials.selftest import describe, selftest


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line says."""
    parser = Parser(
        prog="python -m reward_fns", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, known in (("selftest", REWARDS), ("fuzz", FUZZED)):
        command = commands.add_parser(name)
        command.add_argument("--task", choices=known, help="one task; default: all")
    command.add_argument("--n", type=whole(1), default=100_000, help="trials per task")
    command.add_argument("--seed", type=whole(0), default=0)
    command = commands.add_parser("audit")
    command.add_argument("scorers", nargs="+", help="a reward's name, path/to/file.py:function, or verl:name")
    command.add_argument("--data", type=Path, help="parquet file in our schema to test them on; default: built-in rows")
    options = parser.parse_args(arguments)
    if options.command == "audit":
        return _audit(parser, options.scorers, options.data)
    known = REWARDS if options.command == "selftest" else FUZZED
    tasks = [options.task] if options.task else known
    if options.command == "selftest":
        reports = [selftest(task) for task in tasks]
        print(describe(reports))
        return int(any(report.failures for report in reports))
    fuzzed = [fuzz(task, options.n, options.seed) for task in tasks]
    for found in fuzzed:
        print(found.line())
        for failure in found.failures[:10]:
            print(f"  {failure}")
    return int(any(found.failures or found.slow for found in fuzzed))


def _audit(parser: Parser, scorers: list[str], data: Path | None) -> int:
    faults = False
    for scorer in scorers:
        try:
            report = audit(scorer, data)
        except ValueError as error:
            parser.error(str(error))
        print(describe_audit(report), flush=True)
        faults = faults or bool(report.faults)
    return int(faults)


if __name__ == "__main__":
    sys.exit(main())
