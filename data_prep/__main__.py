"""`python -m data_prep` lists the commands: check your own data, look for overlaps, prepare a task's data.
Each task is a command of its own, e.g. `python -m data_prep.countdown --help`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from data_prep.commands import Parser

COMMANDS = {
    "python -m data_prep validate FILE": "check your own problems, preferences or instructions; convert them",
    "python -m data_prep overlap TRAIN EVAL ...": "find questions that a train file shares with evaluation files",
    "python -m data_prep.countdown": "combine numbers with + - * / to reach a target; generated or imported",
    "python -m data_prep.kk_logic": "who is a knight and who is a knave? generated or imported",
    "python -m data_prep.chain": "start at a state, apply inputs one after another; generated",
    "python -m data_prep.math": "MATH, levels 3 to 5, from the hub or a local copy",
    "python -m data_prep.others": "the evaluation suites GSM8K, AIME, AMC, MATH-500, Minerva, OlympiadBench",
    "python -m data_prep vnhsge SOURCE": "Vietnamese graduation exams for evaluation, from a copy of their repository",
    "python -m data_prep general_knowledge": "open questions for evaluation, from the hub or a local copy",
    "python -m data_prep.preference NAME": "alignment data: synthetic, HelpSteer2, UltraFeedback, UltraChat",
}
_EVALUATED = ("vnhsge", "general_knowledge")


def main(arguments: Sequence[str]) -> int:
    """Runs `validate`, `overlap` or an evaluation set; anything else shows the commands (code 2 unless asked for)."""
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if command == "validate":
        from data_prep import validate_cli

        return validate_cli.main(rest)
    if command == "overlap":
        from data_prep import contamination

        return contamination.main(rest)
    if command in _EVALUATED:
        return _prepare(command, rest)
    asked = command in ("-h", "--help")
    if not asked:
        print(f"error: there is no command {command!r}; choose one of these:", file=sys.stderr)
    width = max(map(len, COMMANDS))
    for name, about in COMMANDS.items():
        print(f"{name:<{width}}  {about}", file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 2


def _prepare(name: str, arguments: Sequence[str]) -> int:
    """Writes the test file of an evaluation set, which says itself what it kept and left out; 2 if it cannot be had."""
    parser = Parser(prog=f"python -m data_prep {name}")
    parser.add_argument("source", nargs="?", help="a local copy, or a name on the hub")
    parser.add_argument("--out", type=Path, default=Path("data", name), help="folder for test.parquet")
    options = parser.parse_args(arguments)
    try:
        import_module(f"data_prep.{name}").prepare(options.out, source=options.source)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
