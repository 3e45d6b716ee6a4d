r"""Mathematics reward: is the final answer, in answer tags or in \boxed{}, equal to the known one in any notation?
1.0 if it is, 0.1 for another answer, 0.0 if nothing could be read.

Example: target "\frac{1}{2}", response "... so the probability is 0.5. </think>\n<answer> 0.5 </answer>".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal

from reward_fns.answer_tags import MAX_DIFFERENT_ANSWERS, THINK_END, answer_texts, printable
from reward_fns.math.equal import check_gold, equivalent, normal_form, quick
from reward_fns.verdict import Verdict, shown

AnswerFormat = Literal["tags", "boxed"]

_BRACES = re.compile(
    r"(?P<box>\\(?:boxed|fbox|framebox)\s*\{)|\\boxed(?:\s+(?P<bare>\w+)|(?P<digits>\d+))|\\.|[{}]", re.DOTALL
)
_NAMED = re.compile(r"(?:^|[\s$(,;&])([A-Za-z](?:_\{?\w+\}?)?)\s*(?:=|\$?\s+is|\$?\s+equals)\s*\$?\s*$")
# (y, x) = before one box, or (y, x) = ( before the first of several.
_POINT = re.compile(r"(\(\s*[A-Za-z](?:\s*,\s*[A-Za-z])+\s*\))\s*=\s*\$?\s*(?:\\left\s*)?(\(?)\s*$")
_DOUBTS = re.compile(
    r"\d|=|n't|(?<![A-Za-z])(?:not|no|never|cannot|wrong|incorrect|false|or|if|unless|except)(?![A-Za-z])",
    re.IGNORECASE,
)
_MINUS = re.compile(r"(?:^|[\s$=(])-$")
# What may be in a box that has no answer.
_FILLING = re.compile(
    r"\\(?:[hv]?phantom|[hv]space\*?)\s*\{[^{}]*\}"
    r"|\\(?:text|q?quad|[lcv]?dots|square|Box|underline|boxed|fbox)(?![A-Za-z])"
)


def score(
    response: str,
    ground_truth: Any,
    verify: Callable[[str, str], Mapping[str, Any]] = equivalent,
    answer_format: AnswerFormat = "tags",
) -> Verdict:
    """Judges one response (generation only, no prompt) against {"target": the known answer as text}.

    verify(answer, target) decides equality; the default may hang on hostile answers, so runs pass one that can be
    stopped. answer_format: "tags" reads <answer> ... </answer>, "boxed" the last \\boxed{...}. Several answers must be
    equal, or together form the list that is the gold; otherwise the response is hedging and not correct. A malformed
    ground truth, or one whose target is not an answer, raises ValueError; otherwise only `verify` may raise.
    """
    gold = read_ground_truth(ground_truth)
    texts = answer_texts(response) if answer_format == "tags" else boxed_texts(response)
    texts = [text for text in texts if _holds_something(text)] or texts
    if answer_format == "tags":
        texts = [_box_in_prose(text) or text for text in texts]
    if not texts:
        return Verdict(correct=False, readable=False, pred="")
    if not _agree(texts):
        readable = any(normal_form(text) is not None for text in texts)
        listed = answer_format == "boxed" and len(texts) <= MAX_DIFFERENT_ANSWERS
        correct = listed and bool(verify(", ".join(texts), gold)["equal"])
        return Verdict(correct, readable or correct, pred=printable(" | ".join(text[:60] for text in texts)))
    decision = verify(texts[0], gold)
    return Verdict(correct=bool(decision["equal"]), readable=bool(decision["readable"]), pred=printable(texts[0]))


def read_ground_truth(ground_truth: Any) -> str:
    """The target of a mathematics ground truth; ValueError says what is wrong with it."""
    if not isinstance(ground_truth, Mapping) or not isinstance(ground_truth.get("target"), str):
        raise ValueError(f"mathematics ground truth must be {{target: text}}, got {shown(ground_truth)}")
    gold: str = ground_truth["target"]
    _check(gold)
    return gold


@lru_cache(maxsize=16_384)
def _check(gold: str) -> None:
    check_gold(gold)


def boxed_texts(response: str) -> list[str]:
    r"""The different contents of the boxes on the line of the last complete one, after the first `</think>` if any.

    Boxes on earlier lines are intermediate steps; two different ones on the last line are two answers. An empty box, as
    in an echo of the prompt, is ignored. At most MAX_DIFFERENT_ANSWERS + 1 texts are returned.
    """
    thought_end = response.find(THINK_END)
    text = response if thought_end < 0 else response[thought_end + len(THINK_END) :]
    boxes = [(at, content) for at, content in _boxes(text) if _holds_something(content)]
    if not boxes:
        return []
    line_start = text.rfind("\n", 0, boxes[-1][0]) + 1
    last_line = [(start, content) for start, content in boxes if start >= line_start]
    before = text[max(line_start, last_line[0][0] - 40) : last_line[0][0]]
    found = list(dict.fromkeys(content for _, content in last_line))
    if point := _POINT.search(before):
        listed = ", ".join(content for _, content in last_line)
        return [f"{point[1]} = ({listed})" if point[2] else f"{point[1]} = {listed}"]
    if len(found) == 1 and _MINUS.search(before):
        return [f"-{found[0]}"]
    if len(found) > 1:
        # In "y = \\boxed{4} and x = \\boxed{3}" the names say which value is which.
        found = list(
            dict.fromkeys(
                _name_before(text[max(line_start, start - 40) : start]) + content for start, content in last_line
            )
        )
    return found[: MAX_DIFFERENT_ANSWERS + 1]


def _box_in_prose(text: str) -> str:
    """The content of the only box in a block whose other words have no number and deny nothing: "The final answer is
    \\boxed{42}. I hope it is correct."; else ""."""
    boxes = _boxes(text) if "boxed" in text else []
    if len(boxes) != 1:
        return ""
    at, content = boxes[0]
    rest = text[:at] + text[at:].replace(content, "", 1)
    says_more = len(re.findall(r"(?<![\\A-Za-z])[A-Za-z]{2,}", rest)) > 3
    return content if says_more and not _DOUBTS.search(rest) else ""


def _name_before(text: str) -> str:
    named = _NAMED.search(text)
    return f"{named[1]}=" if named else ""


def last_boxed(text: str) -> str | None:
    r"""The content of the last complete \boxed{...} (or \boxed 7) in `text`, an empty one only if all are; or None."""
    contents = [content for _, content in _boxes(text)]
    return next(
        (content for content in reversed(contents) if _holds_something(content)), contents[-1] if contents else None
    )


def _holds_something(content: str) -> bool:
    return bool(re.search(r"[^\W_]|\\\{|[∅∞]", _FILLING.sub("", content)))


def _boxes(text: str) -> list[tuple[int, str]]:
    """(position, content) of the complete boxes that are not inside another; linear in the length of the text."""
    found: list[tuple[int, str]] = []
    open_braces: list[tuple[int, int]] = []  # (position of \\boxed or -1, beginning of the content)
    for match in _BRACES.finditer(text):
        if bare := match["bare"] or match["digits"]:
            found.append((match.start(), bare))
        elif match["box"]:
            open_braces.append((match.start(), match.end()))
        elif match[0] == "{":
            open_braces.append((-1, match.end()))
        elif match[0] == "}" and open_braces:
            start, content = open_braces.pop()
            if start >= 0:
                while found and found[-1][0] > start:
                    found.pop()
                found.append((start, text[content : match.start()].strip()))
    return found


def _agree(texts: list[str]) -> bool:
    if len(texts) > MAX_DIFFERENT_ANSWERS:
        return False
    forms = {normal_form(text) for text in texts}
    return len(forms) == 1 or all((quick(text, texts[0]) or {"equal": False})["equal"] for text in texts[1:])
