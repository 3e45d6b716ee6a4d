r"""Removes the styling of an answer: bold, colour, size, boxes, lines, markdown: \textcolor{red}{\mathbf{13}} is 13.
Words in an upright font become \text{...}; no value changes."""

from __future__ import annotations

import re

_COMMAND = re.compile(
    r"\\(?:(?P<looks>boldsymbol|bm|pmb|underline|uline|uuline|underbar|hl|ensuremath|mathord|boxed|fbox|framebox)"
    r"|(?P<letters>mathbf|mathit|mathsf|mathtt|mathnormal|mathrm|operatorname\*?|mathop)"
    r"|(?P<words>text(?:bf|it|rm|sf|tt|normal|up)?|emph|mbox|hbox)"
    r"|(?P<colours>textcolor|colorbox|fcolorbox)(?:\s*\[[^\]]*\])?)(?![A-Za-z])\s*(?=\{)"
)
_GROUPS = {"textcolor": 2, "colorbox": 2, "fcolorbox": 3}
_DROPPED = re.compile(
    r"\\color\s*(?:\[[^\]]*\])?\s*\{[^{}]*\}"
    r"|\\(?:tag\*?|label|[hv]?phantom|[hv]space\*?)\s*\{[^{}]*\}"
    r"|\\(?:tiny|scriptsize|footnotesize|small|normalsize|large|Large|LARGE|huge|Huge|bf|it|rm|sf|tt|bfseries|itshape"
    r"|mdseries|upshape|boldmath|displaystyle|textstyle|scriptstyle|limits|nolimits|q?quad)(?![A-Za-z])"
    # Without braces they apply to one character.
    r"|\\(?:boldsymbol|bm|pmb|math(?:bf|it|sf|tt|normal|rm))(?![A-Za-z])(?!\s*\{)"
)
# 2**3 is a power: marks of bold type have no formula next to them.
_MARKDOWN = re.compile(
    r"(?<![\w)}*])(\*{2,3})(?=[^\s*])([^*]+)(?<=\S)\1(?![\w({*])|<(b|strong|em|i|u|p|span|div|math|code)>(.*?)</\3>",
    re.DOTALL,
)
_MOST_COMMANDS = 60


def unstyled(text: str) -> str:
    r"""The text without commands and marks that only affect its appearance."""
    if "**" in text or "</" in text:
        text = _MARKDOWN.sub(lambda m: m[2] or m[4] or "", text)
    if "\\" not in text:
        return text
    text, at = _DROPPED.sub(" ", text), 0
    for _ in range(_MOST_COMMANDS):
        found = _COMMAND.search(text, at)
        if not found:
            break
        inner, end = "", found.end()
        for _ in range(_GROUPS.get(found["colours"], 1)):
            opening = end + len(text[end:]) - len(text[end:].lstrip())
            end = _closing(text, opening) + 1
            if not end:
                break
            inner = text[opening + 1 : end - 1]
        if not end:
            at = found.end()
        elif _are_words(found, inner):
            text = f"{text[: found.start()]}\\text{{{inner}}}{text[end:]}"
            at = found.start() + len("\\text{}") + len(inner)
        else:
            at = found.start()
            inner = re.sub(r"(?<!\\)\$", "", inner)
            inner = f"{{{inner}}}" if text[:at].rstrip().endswith(("_", "^")) else f" {inner} "
            text = text[:at] + inner + text[end:]
    return text


def _are_words(found: re.Match[str], inner: str) -> bool:
    if found["words"]:
        return not re.search(r"[\\$]", inner)
    return bool(found["letters"]) and len(inner.strip()) > 1 and not re.search(r"[\d\\^_=+*(]", inner)


def _closing(text: str, opening: int) -> int:
    """The position of the brace that closes the one at `opening`, or -1."""
    depth = 0
    if not text.startswith("{", opening):
        return -1
    for match in re.finditer(r"\\.|[{}]", text[opening:], re.DOTALL):
        depth += (match[0] == "{") - (match[0] == "}")
        if depth == 0:
            return opening + match.start()
    return -1
