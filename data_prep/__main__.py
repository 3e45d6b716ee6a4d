"""`python -m data_prep` lists the commands: check your own data, look for overlaps, prepare a task's data.
Each has --help, e.g. `python -m data_prep countdown --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

from data_prep.commands import Parser, folder, one_line
from data_prep.faults import meant
from data_prep.tasks import prepare

COMMANDS = {
    "validate FILE": ("validate.main", "check your own problems, preferences or instructions; convert them"),
    "overlap TRAIN EVAL ...": ("contamination.main", "find questions that a train file shares with evaluation files"),
    "countdown": ("task_commands.countdown", "combine numbers with + - * / to reach a target; generated or imported"),
    "kk_logic": ("task_commands.kk_logic", "who is a knight and who is a knave? generated or imported"),
    "chain": ("task_commands.chain", "start at a state, apply inputs one after another; generated"),
    "math": ("task_commands.math", "MATH, levels 3 to 5, from the hub or a local copy"),
    "others": ("task_commands.others", "the evaluation suites GSM8K, AIME, AMC, MATH-500, Minerva, OlympiadBench"),
    "vnhsge SOURCE": ("", "Vietnamese graduation exams for evaluation, from a copy of their repository"),
    "vnhsge_table RESULTS": ("benchmarks.vnhsge.main", "accuracy by subject of an evaluation on them"),
    "general_knowledge": ("", "open questions for evaluation, from the hub or a local copy"),
    "preference NAME": ("task_commands.preference", "alignment data: synthetic, HelpSteer2, UltraFeedback, UltraChat"),
}
"""By usage: the function of the command line ("": it is `_prepare`), and what the command does."""


def main(arguments: Sequence[str]) -> int:
    """Runs a command; for anything else lists the commands (code 2 unless requested)."""
    asked, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    functions = {usage.partition(" ")[0]: function for usage, (function, _) in COMMANDS.items()}
    if asked in functions:
        module, _, name = functions[asked].rpartition(".")
        command = getattr(import_module(f"data_prep.{module}"), name) if module else partial(_prepare, asked)
        return one_line(command)(rest)
    helps = asked in ("-h", "--help")
    if not helps:
        print(f"error: there is no command {asked!r}{meant(asked, functions)} Choose one of these:", file=sys.stderr)
    width = max(map(len, COMMANDS))
    for usage, (_, about) in COMMANDS.items():
        print(f"python3 -m data_prep {usage:<{width}}  {about}", file=sys.stdout if helps else sys.stderr)
    return 0 if helps else 2


def _prepare(name: str, arguments: Sequence[str] | None) -> int:
    """Writes the test file of an evaluation set, whose `prepare` prints what it kept and skipped."""
    parser = Parser(prog=f"python -m data_prep {name}")
    # A flag as in the other commands; suppressed, or the default of the positional would override it.
    parser.add_argument("--source", help=argparse.SUPPRESS)
    parser.add_argument("source", nargs="?", default=argparse.SUPPRESS, help="a local copy, or a name on the hub")
    parser.add_argument("--out", type=folder, default=Path("data", name), help="folder for test.parquet")
    options = parser.parse_args(arguments)
    prepare(name, options.out, source=options.source)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
