"""`python -m data_prep` lists the commands: check your own data, look for overlaps, prepare a task's data.
Each task is a command of its own, e.g. `python -m data_prep.countdown --help`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

COMMANDS = {
    "python -m data_prep validate FILE": "check your own questions and answers, and convert them for training",
    "python -m data_prep overlap TRAIN EVAL ...": "find questions that a train file shares with evaluation files",
    "python -m data_prep.countdown": "combine numbers with + - * / to reach a target; generated or imported",
    "python -m data_prep.kk_logic": "who is a knight and who is a knave? generated or imported",
    "python -m data_prep.math": "MATH, levels 3 to 5, from the hub or a local copy",
    "python -m data_prep.others": "the evaluation suites GSM8K, AIME, AMC, MATH-500, Minerva, OlympiadBench",
}


def main(arguments: Sequence[str]) -> int:
    """Runs `validate` or `overlap`; anything else shows the commands (exit code 2 unless asked for)."""
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if command == "validate":
        from data_prep import validate_cli

        return validate_cli.main(rest)
    if command == "overlap":
        from data_prep import contamination

        return contamination.main(rest)
    asked = command in ("-h", "--help")
    if not asked:
        print(f"error: there is no command {command!r}; choose one of these:", file=sys.stderr)
    width = max(map(len, COMMANDS))
    for name, about in COMMANDS.items():
        print(f"{name:<{width}}  {about}", file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
