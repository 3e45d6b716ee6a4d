"""The command lines of this package: words of a flag joined by - as here, or by _ as in those of run.py, and one line
for a mistake."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that takes _ for -, and says in one line what was probably meant."""

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
            close = difflib.get_close_matches(odd.replace("_", "-"), self._option_string_actions, n=1)
            message = f"{odd}: no such flag{f'; did you mean {close[0]}?' if close else '.'}"
        self.exit(2, f"{self.prog}: {message.rstrip('.')}. All flags: {self.prog} --help\n")
