"""Chain reward: does the answer in the tags list every state along the way, in order?
1.0 if it does, 0.1 for a readable list that does not, 0.0 if nothing could be read.

Example: solution [1, 2], response "state 1: 1\\nstate 2: 2\\n </think>\\n<answer> (1) 1 (2) 2 </answer>".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from reward_fns.answer_tags import list_verdict
from reward_fns.verdict import Verdict, listed, shown

MOST_STATES = 1_000
_MAX_CHARS = 32 * MOST_STATES

_NUMBER = r"(?:0|[1-9][0-9]{0,8})"
# Full-width characters one by one, not by NFKC, which would turn "3²" into 32.
_TRANSLATE = str.maketrans("０１２３４５６７８９（）［］｛｝，；：．＝", "0123456789()[]{},;:.=")
_BULLET = re.compile(r"^[-*•]\s+(?=[\d(])", re.MULTILINE)
_ARROW = re.compile(r"\\(?:long)?(?:to|rightarrow|Rightarrow|Longrightarrow)(?![A-Za-z])")
_BOXED = re.compile(r"\\boxed ?\{(.*)\}")
_DRESS = (*((mark, mark) for mark in ("```", "`", "**", "__", "$")), ("\\(", "\\)"), ("\\[", "\\]"))
# Between two entries (runs of whitespace are one space): at most ", and".
_BETWEEN = r"(?:(?: ?(?:[,;]|->|=>|→|⇒|and\b)){1,2} ?| )"
_PLAIN = re.compile(rf"{_NUMBER}(?:{_BETWEEN}{_NUMBER})*+")
# "(3) 1", "3) 1", "3. 1", "3: 1", "state 3: 1", "state 3 is 1", "s_3 = 1"
_NUMBERED = re.compile(
    rf"(?:\(({_NUMBER})\) ?[:=]?|({_NUMBER}) ?[:)=]|({_NUMBER})\.(?= )"
    rf"|(?:state|step|s)[ _]?[({{]?({_NUMBER})[)}}]? ?(?:[:=]|is\b)) ?({_NUMBER})(?![0-9])[.]?"
)
_GAP = re.compile(rf"{_BETWEEN}?")


def score(response: str, ground_truth: Any) -> Verdict:
    """Judges one response (generation only, no prompt) against {"solution": whole numbers, "start": whole number, ...}.

    `partial` is the share of states that are correct at their position. No response raises; a malformed ground truth
    raises ValueError.
    """
    solution, start = read_ground_truth(ground_truth)
    return list_verdict(response, solution, lambda text: _read(text, start))


def _read(text: str, start: int) -> tuple[int, ...] | None:
    """The states that an answer block lists, or None: a plain list, or entries numbered from 1.

    Numbered entries may begin with number 0, the start, if it is correct.
    """
    if len(text) > _MAX_CHARS:
        return None
    text = _ARROW.sub("->", _BULLET.sub("", text))
    text = " ".join(text.translate(_TRANSLATE).casefold().split())
    text = _undressed(text.removesuffix("."))
    if boxed := _BOXED.fullmatch(text):
        text = _undressed(boxed[1].strip())
    if _PLAIN.fullmatch(text):
        return tuple(map(int, re.findall(_NUMBER, text)))
    return _numbered(text, start)


def _undressed(text: str) -> str:
    """The text without code, bold or math marks and brackets around all of it."""
    for opening, closing in _DRESS:
        if len(text) > len(opening + closing) and text.startswith(opening) and text.endswith(closing):
            text = text[len(opening) : -len(closing)].strip()
    inner = text[1:-1]
    if text[:1] + text[-1:] in ("[]", "()", "{}") and not set(inner) & set("()[]{}"):
        text = inner.strip()
    return text


def _numbered(text: str, start: int) -> tuple[int, ...] | None:
    states: list[int] = []
    at, number = 0, None
    while at < len(text):
        entry = _NUMBERED.match(text, at)
        if entry is None:
            return None
        said = int(next(group for group in entry.groups()[:4] if group is not None))
        if number is None and said == 0:
            if int(entry[5]) != start:
                return None
        elif said != (number or 0) + 1:
            return None
        else:
            states.append(int(entry[5]))
        number = said
        gap = _GAP.match(text, entry.end())
        at = entry.end() if gap is None else gap.end()
    return tuple(states) or None


def read_ground_truth(ground_truth: Any) -> tuple[tuple[int, ...], int]:
    """(solution, start) of a chain ground truth; ValueError says which part is wrong and what it was."""
    if not isinstance(ground_truth, Mapping):
        raise ValueError(f"chain ground truth must be {{solution, start, ...}}, got {shown(ground_truth)}")
    solution = listed("chain", ground_truth, "solution", MOST_STATES)
    return tuple(_state(state, "solution") for state in solution), _state(ground_truth.get("start"), "start")


def _state(value: Any, key: str) -> int:
    value = value.item() if hasattr(value, "item") else value
    if type(value) is not int or not 0 <= value < 10**9:
        raise ValueError(f"chain ground truth {key!r} must hold whole numbers from 0, got {shown(value)}")
    return value
