"""The commands that README and docs show, as one would type them: found in blocks of code and between backticks."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from tests import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "models/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "results").glob("*/README.md")),
]

_BEGINS = re.compile(r"(?:\w+=\S+ )*(?:python3 run\.py|(?:python3?|\.venv/bin/python) -m [\w.]+|\./install\.sh)(?= |$)")
_VARIABLE = re.compile(r'(\w+)="([^"]*)"')
_BLOCK = re.compile(r"^```.*?\n(.*?)^```|((?:^    [^\n]*\n)+)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """One command of a page."""

    page: str
    program: str
    """run.py, ./install.sh, or the module that is run."""

    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join((self.program, *self.arguments))


def documented() -> list[Command]:
    """All of them, each once."""
    found: dict[str, Command] = {}
    for page in PAGES:
        for line in _lines(page.read_text(encoding="utf-8")):
            command = _read(str(page.relative_to(ROOT)), line)
            found.setdefault(str(command), command)
    return list(found.values())


def _lines(text: str) -> Iterator[str]:
    prose = text
    for block in _BLOCK.finditer(text):
        prose = prose.replace(block[0], "\n\n")
        variables: dict[str, str] = {}
        for line in re.sub(r"\\\n\s*", "", block[1] or block[2]).splitlines():
            if given := _VARIABLE.fullmatch(line.strip()):
                variables[given[1]] = given[2]
            for name, value in variables.items():
                line = line.replace(f"${name} ", f"{value} ")
            yield from (part.strip() for part in line.split("&&") if _BEGINS.match(part.strip()))
    for span in re.findall(r"`([^`]+)`", re.sub(r"\n(?!\n)", " ", prose)):
        if _BEGINS.match(span):
            yield span


def _read(page: str, line: str) -> Command:
    # [--also X] may be omitted; of a | b | c ... the first.
    line = re.sub(r" \[([^\]]*)\]", r" \1", re.sub(r" \|.*", "", line))
    words = shlex.split(line, comments=True)
    while "=" in words[0]:
        words.pop(0)
    if words[0] == "./install.sh":
        return Command(page, words[0], tuple(words[1:]))
    if words[1] == "run.py":
        return Command(page, "run.py", tuple(words[2:]))
    return Command(page, words[2], tuple(words[3:]))


def main() -> None:
    for each in documented():
        print(f"{each.page}: {each}")


if __name__ == "__main__":
    main()
