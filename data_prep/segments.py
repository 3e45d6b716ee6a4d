r"""Splits the text of a worked solution into segments after which a hint may end: sentences and lines, not formulas.
Example: "Let $x=1.5$. Then\n$$y=3.$$So $y=3$." -> "Let $x=1.5$. ", "Then\n", "$$y=3.$$So $y=3$."."""

from __future__ import annotations

import re

# What must stay in one piece. An opening sign without its closing one is an ordinary character.
_WHOLE = re.compile(
    r"\\begin\s*\{(?P<name>[A-Za-z]+\*?)\}.*?\\end\s*\{(?P=name)\}"
    r"|\[asy\].*?\[/asy\]"
    r"|(?<!\\)\$\$.+?(?<!\\)\$\$"
    r"|(?<!\\)\$(?:\\.|[^$\\])+\$"
    r"|\\\[.*?\\\]|\\\(.*?\\\)"
    r"|\\.",
    re.DOTALL,
)
_ENDS = re.compile(r"(?:[.?]|(?<!\d)!)[\"')\]’”]*[ \t]|\n")
# A full stop after these is part of the word, also after a single capital letter (an initial).
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:e\.g|i\.e|etc|cf|vs|resp|approx|Dr|Mr|Mrs|Ms|St|Fig|fig|Eq|eq|No|no|Thm|Prop|Ex|[B-HJ-Z])$"
)


def segments(text: str) -> list[str]:
    """The segments in order: none is empty, and joined they are exactly `text`.

    A segment ends after a line break, or after the space that follows a sentence, but never inside a formula, an
    environment or a drawing, or after decimals, factorials and abbreviations.
    """
    whole = [match.span() for match in _WHOLE.finditer(text)]
    pieces: list[str] = []
    start = formula = 0
    for match in _ENDS.finditer(text):
        while formula < len(whole) and whole[formula][1] <= match.start():
            formula += 1
        inside = formula < len(whole) and whole[formula][0] <= match.start() < whole[formula][1]
        if inside or (match[0][0] == "." and _ABBREVIATION.search(text[max(start, match.start() - 8) : match.start()])):
            continue
        pieces.append(text[start : match.end()])
        start = match.end()
    return [*pieces, text[start:]] if start < len(text) else pieces
