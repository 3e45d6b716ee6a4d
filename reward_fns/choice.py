r"""Multiple-choice reward: is the one letter given in the answer tags the right one?
1.0 if it is, 0.1 for another letter or for several, 0.0 if no letter could be read.

Example: choice "B", response "... vitamin C </think>\n<answer> Đáp án B </answer>".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from reward_fns.answer_tags import read_answer
from reward_fns.verdict import Verdict, shown

LETTERS = "ABCDEFGHIJ"
# The number of options if the ground truth does not list them.
USUAL_OPTIONS = 4
# A longer text is not an answer; this also bounds the work.
_LONGEST = 2_000


@dataclass(frozen=True, slots=True)
class _Problem:
    choice: str
    letters: str
    options: tuple[str, ...]


def score(response: str, ground_truth: Any) -> Verdict:
    """Judges one response (generation only, no prompt) against {"choice": letter, "options": texts, optional}.

    The letter may have any natural form: B, (b), "B. text", "Đáp án B", "the answer is B", \\boxed{B}, **B**; if there
    are options, also the exact text of one of them. Letters inside prose do not count. Several different letters, in
    one block or in several, are hedging: readable, never correct. No response raises; a malformed ground truth raises
    ValueError.
    """
    problem = read_ground_truth(ground_truth)
    reading = read_answer(response, lambda text: _read(text, problem))
    return Verdict(
        correct=reading.value == problem.choice,
        readable=reading.value is not None or reading.hedged,
        pred=reading.text,
    )


def read_choice(text: str, letters: str = LETTERS[:USUAL_OPTIONS]) -> str | None:
    """The letter that the text of an answer block names, "A/C" if it names several, or None."""
    return _read(text, _Problem(letters[0], letters, ()))


def read_ground_truth(ground_truth: Any) -> _Problem:
    """The right letter and the options; ValueError says what is wrong with a ground truth."""
    choice = ground_truth.get("choice") if isinstance(ground_truth, Mapping) else None
    if not isinstance(choice, str):
        raise ValueError(f"multiple-choice ground truth must be {{choice: letter}}, got {shown(ground_truth)}")
    options = ground_truth.get("options")
    options = options.tolist() if hasattr(options, "tolist") else options
    if options is None:
        options = ()
    if not isinstance(options, Sequence) or isinstance(options, str) or not all(isinstance(o, str) for o in options):
        raise ValueError(f"multiple-choice ground truth 'options' must be a list of texts, got {shown(options)}")
    letters = LETTERS[: len(options) or USUAL_OPTIONS]
    if len(options) > len(LETTERS) or len(choice) != 1 or choice not in letters:
        raise ValueError(f"multiple-choice ground truth 'choice' must be a letter of {letters}, got {shown(choice)}")
    return _Problem(choice, letters, tuple(_plain(option) for option in options))


# --- reading -------------------------------------------------------------------------------------------------------

_WRAPPERS = re.compile(r"\\(?:boxed|text|textbf|mathrm|mathbf|mathit|textrm|fbox)\s*\{([^{}]*)\}")
_MARKS = re.compile(r"\*\*|__|\$|`|\\\(|\\\)|\\\[|\\\]|[\"“”«»]")
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r" ?(?:\n ?)+")

# What may introduce a letter, in the two languages of our data; longer forms first.
_LEAD = (
    r"(?:(?:the|my|our)\s+)?(?:(?:final|correct|right|best|true)\s+)*"
    r"(?:answer|choice|option|letter)(?:\s+(?:is|should be|would be|must be))?(?:\s*[:=])?"
    r"(?:\s+(?:is|option|choice|letter|answer))*(?:\s*:)?"
    r"|(?:i|we)\s+(?:choose|pick|select)(?:\s+(?:option|choice|answer))?"
    r"|(?:câu\s+trả\s+lời|đáp\s+án|phương\s+án|lựa\s+chọn|kết\s+quả)(?:\s+(?:cuối\s+cùng|đúng|chính\s+xác|đúng\s+nhất))*"
    r"(?:\s+(?:là|của\s+tôi\s+là))?(?:\s*[:=])?(?:\s+(?:đáp\s+án|phương\s+án|câu))?(?:\s*:)?"
    r"|(?:(?:tôi|ta|em)\s+)?chọn(?:\s+(?:đáp\s+án|phương\s+án|câu))?(?:\s*:)?"
    r"|câu"
)
_SO = r"(?:(?:so|thus|therefore|hence|vậy|vậy nên|do đó|vì vậy|suy ra)\s*,?\s+)?"
_REASON = r"(?:because|since|as|for|vì|do|bởi)\b"


@dataclass(frozen=True, slots=True)
class _Forms:
    """The patterns for one set of letters. The letter is the group `letter`, or `marked` if in brackets."""

    only: re.Pattern[str]
    listed: re.Pattern[str]
    opening: re.Pattern[str]
    stated: re.Pattern[str]
    marker: re.Pattern[str]
    single: re.Pattern[str]


@lru_cache(maxsize=16)
def _forms(letters: str) -> _Forms:
    one = f"[{letters}{letters.lower()}]"
    mark = rf"(?:[(\[]\s*(?P<marked>{one})\s*[)\]]|(?P<letter>{one}))"
    any_mark = rf"(?:[(\[]\s*{one}\s*[)\]]|\b{one}\b)"
    joiner = r"(?:[\s,;/&+|]|\b(?:or|and|not|hoặc|hay|và)\b)+"
    # After a bare letter: nothing, or punctuation that separates it from what follows, which "A cat" lacks.
    ends = rf"(?=\s*$|\s*\n|[.):](?:\s|$)|\s+[-–—]\s|\s*[,;]?\s+{_REASON})"
    said = (
        r"\s+(?:is|là)\s+(?:the\s+)?(?:(?:final|correct|right|best|đáp án|phương án|câu trả lời|lựa chọn)\s*)"
        r"(?:answer|choice|option|one|đúng|chính xác|đúng nhất)?\s*[.!]?\s*$"
        r"|\s+(?:đúng|is correct|is right)\s*[.!]?\s*$"
    )
    flags = re.IGNORECASE
    return _Forms(
        only=re.compile(rf"^{_SO}(?:(?:{_LEAD}|[=→])\s*)?{mark}\s*[.,:;)!]?\s*$", flags),
        listed=re.compile(rf"^{_SO}(?:(?:{_LEAD})\s*)?{any_mark}(?:{joiner}{any_mark})+\s*\.?\s*$", flags),
        opening=re.compile(
            rf"^{_SO}(?:(?:{_LEAD})\s*)?(?:[(\[]\s*(?P<marked>{one})\s*[)\]](?:\s|[.:,-])|(?P<letter>{one})(?:{ends}|{said}))",
            flags,
        ),
        stated=re.compile(rf"(?<!\w)(?:{_LEAD})\s*{mark}(?!\w)(?=(?P<rest>[^\n]{{0,40}}))", flags),
        marker=re.compile(rf"(?:^|(?<=[\s,;]))(?:[(\[]\s*({one})\s*[)\]]|({one})\s*[.):])(?=\s+\S)", flags),
        single=re.compile(any_mark, flags),
    )


def _read(text: str, problem: _Problem) -> str | None:
    text = _clean(text)
    if not text or len(text) > _LONGEST:
        return None
    forms = _forms(problem.letters)
    named = _named_option(text, problem)
    if found := forms.only.match(text):
        letter = _letter(found)
        # The text of one option can be the letter of another: "A" may be option C (ampere).
        return _several({letter, named}) if named else letter
    if named:
        return named
    if forms.listed.match(text):
        return _several({_bare(mark) for mark in forms.single.findall(text)})
    letters = _marked(text, forms)
    opening = forms.opening.match(text)
    if opening:
        letters.add(_letter(opening))
        named = _named_option(text[opening.end() :].lstrip(" .):-–—"), problem)
        letters |= {named} if named else set()
    stated = _stated(text, forms)
    if opening is None and not stated:
        return None
    return _several(letters | stated)


def _stated(text: str, forms: _Forms) -> set[str]:
    """Letters of sentences such as "the answer is B", anywhere in the text."""
    letters: set[str] = set()
    for found in forms.stated.finditer(text):
        rest = found["rest"]
        joined = re.match(rf"\s*(?:[,/&+|]|\b(?:or|and|hoặc|hay|và)\b)\s*({forms.single.pattern})(?!\w)", rest, re.I)
        if joined:
            letters |= {_letter(found), _bare(joined[1])}
        elif found["marked"] or re.match(rf"\s*$|\s*[.,;:!)]|\s+{_REASON}|\s+[-–—]\s", rest, re.I):
            letters.add(_letter(found))
    return letters


def _marked(text: str, forms: _Forms) -> set[str]:
    """Letters that introduce an option, as in a list of all options: "A. cat B. dog"."""
    return {(bracketed or bare).upper() for bracketed, bare in forms.marker.findall(text)}


def _named_option(text: str, problem: _Problem) -> str | None:
    if not problem.options:
        return None
    wanted = _plain(text)
    same = [letter for letter, option in zip(problem.letters, problem.options, strict=True) if option == wanted]
    return same[0] if len(same) == 1 else None


def _letter(found: re.Match[str]) -> str:
    return str(found["marked"] or found["letter"]).upper()


def _bare(mark: str) -> str:
    return mark.strip("()[] ").upper()


def _several(letters: set[str]) -> str:
    return "/".join(sorted(letters))


def _clean(text: str) -> str:
    # NFKC turns full-width letters and brackets into plain ones.
    text = unicodedata.normalize("NFKC", text[: _LONGEST + 1])
    for _ in range(3):
        text = _WRAPPERS.sub(r"\1", text)
    text = _LINES.sub("\n", _SPACES.sub(" ", _MARKS.sub("", text)))
    return text.strip().strip("'*_").strip()


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", _clean(text)).strip(" .;,").casefold()


__all__ = ["LETTERS", "read_choice", "score"]
