"""The command lines of this package: words of a flag are joined by - (or _ as in run.py), and an error is one line."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from data_prep.faults import meant


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that accepts _ for -, and suggests in one line what was probably meant."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        words = [*(sys.argv[1:] if args is None else args)]
        return super().parse_known_args([self._spelled(word) for word in words], namespace)

    def _spelled(self, word: str) -> str:
        flag, equals, value = word.partition("=")
        here = flag.replace("_", "-")
        return f"{here}{equals}{value}" if here in self._option_string_actions else word

    def error(self, message: str) -> NoReturn:
        """Ends the command with code 2."""
        odd = message.removeprefix("unrecognized arguments: ").partition(" ")[0].partition("=")[0]
        if message.startswith("unrecognized") and odd.startswith("-"):
            message = f"{odd}: no such flag{meant(odd.replace('_', '-'), self._option_string_actions)}"
        self.exit(2, f"{self.prog}: {message.rstrip('.')}. All flags: {self.prog} --help\n")


def one_line(main: Callable[[Sequence[str] | None], int]) -> Callable[[Sequence[str] | None], int]:
    """Makes a command report in one line, with code 2, which file or value is the problem."""

    @functools.wraps(main)
    def command(arguments: Sequence[str] | None = None) -> int:
        try:
            return main(arguments)
        except BrokenPipeError:
            raise  # of who reads the output, and no file's (run.py, let_reader_leave)
        except (ValueError, OSError) as error:
            where = getattr(error, "filename", None)
            print(f"error: {f'{where}: {error.strerror}' if where else error}", file=sys.stderr)  # type: ignore[union-attr]
            return 2

    return command


def folder(text: str) -> Path:
    """A folder to write to: one that exists or can be created."""
    path = Path(text)
    there = next(place for place in (path, *path.parents) if place.exists())
    if not there.is_dir():
        raise argparse.ArgumentTypeError(f"{there} is a file; choose another folder")
    return path


def whole(least: int) -> Callable[[str], int]:
    """Integers from `least`."""

    def read(text: str) -> int:
        if (number := int(text)) < least:
            raise argparse.ArgumentTypeError(f"{number}: must be at least {least}")
        return number

    read.__name__ = "int"  # for argparse's message about other texts
    return read


def share(text: str) -> float:
    """A share strictly between 0 and 1."""
    if not 0.0 < (value := float(text)) < 1.0:
        raise argparse.ArgumentTypeError(f"{text}: must be between 0 and 1, such as 0.1")
    return value


def task_parser(task: str, title: str, n_train: int | None, n_test: int, what: str = "problems") -> Parser:
    """The command line of a task, with the flags that all tasks have. n_train: None for all there are."""
    parser = Parser(prog=f"python -m data_prep {task}", description=f"Prepare {title} data.")
    parser.add_argument("--out", type=folder, default=Path("data", task), help="folder for train and test.parquet")
    for part, name, n in (("train", "training", n_train), ("test", "test", n_test)):
        usual = "all" if n is None else n
        parser.add_argument(f"--n-{part}", type=whole(1), default=n, help=f"number of {name} {what} (default {usual})")
    parser.add_argument("--seed", type=whole(0), default=0, help="random seed")
    return parser
