"""Reward for short open answers: does the text in the answer tags say the same as one of the known answers?
1.0 if it does, 0.1 for another text, 0.0 if there is none. `partial` is the token F1, which does not affect the reward.

Example: answers ["Paris"], question "What is the capital of France?", response "... <answer> It is Paris. </answer>".
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reward_fns.answer_tags import answer_texts, read_answer
from reward_fns.verdict import Verdict, listed, shown

_LONGEST = 4_000
# An answer with fewer key words than this must be matched exactly, with nothing added.
_SHORT = 4


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_ARTICLES = _set("a an the")
# Words that make no claim by themselves.
_FILLERS = _set(
    "is are was were be been being it its this that these those there he she they we you his her their of in on at "
    "to by for with from as and so thus therefore which who whom whose what when where how why do does did has have "
    "had can will would also called known named answer correct final s "
    "là của và thì mà được bị ở tại vào cho với từ này đó các những một đáp án câu trả lời đúng gọi"
)
_NEGATIONS = _set("not no never none neither nor without cannot isn aren wasn weren doesn didn don không chưa chẳng")
_ALTERNATIVES = _set("or either maybe perhaps possibly hoặc hay")
_SMALL = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBER_WORDS = {word: str(number) for number, word in enumerate(_SMALL)}
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
# A minus sign belongs to its number unless it is between two (1914-1918); C++ and C# are not C.
_WORD = re.compile(r"(?:(?<![\w.])-)?\d+(?:\.\d+)?|\w+[+#]*")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_COMMAND = re.compile(r"\\(?:boxed|fbox|emph|text(?:bf|it|rm)?|math(?:bf|it|rm))(?=\s*\{)")
_LIST = re.compile(r"\s*(?:[,;\n]|\band\b|\bvà\b|&)+\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a text says: all its words, and the meaningful ones, in order."""

    words: tuple[str, ...]
    keys: tuple[str, ...]

    @property
    def numbers(self) -> frozenset[str]:
        return frozenset(word for word in self.keys if _NUMBER.fullmatch(word))


def score(response: str, ground_truth: Any) -> Verdict:
    """Judges one response (generation only, no prompt) against {"answers": texts, "question": text, optional}.

    A response is correct if, compared with any of the answers, it has the same words (ignoring case, punctuation and
    articles), or the same list items in any order, or all key words of the answer in order and otherwise only fillers
    and words of the question (if the answer has _SHORT key words or more, also up to a quarter as many other words). A
    text that negates, offers alternatives or adds a number where the answer does not is never correct. Several blocks
    must say the same. No response raises; a malformed ground truth raises ValueError.
    """
    answers, question = read_ground_truth(ground_truth)
    reading = read_answer(response, normalise)
    if reading.value is None:
        return Verdict(correct=False, readable=reading.hedged, pred=reading.text)
    asked = frozenset(_claim(question).keys)
    # Lists need the punctuation that normalising removes.
    given = answer_texts(response)[0]
    correct = any(says(given, answer, asked) for answer in answers)
    partial = max(token_f1(reading.value, answer) for answer in answers)
    return Verdict(correct=correct, readable=True, pred=reading.text, partial=partial)


def read_ground_truth(ground_truth: Any) -> tuple[list[str], str]:
    """(answers, question or "") of an open-answer ground truth; ValueError says what is wrong with it."""
    if not isinstance(ground_truth, Mapping):
        raise ValueError(f"open-answer ground truth must be {{answers: texts}}, got {shown(ground_truth)}")
    answers = listed("open-answer", ground_truth, "answers")
    for answer in answers:
        if not isinstance(answer, str) or normalise(answer) is None:
            raise ValueError(f"open-answer ground truth 'answers' must hold texts with words, got {shown(answer)}")
    question = ground_truth.get("question")
    if question is not None and not isinstance(question, str):
        raise ValueError(f"open-answer ground truth 'question' must be text, got {shown(question)}")
    return answers, question or ""


def normalise(text: str) -> str | None:
    """Lower-case words without punctuation and articles, number words as digits; None if there are no words."""
    words = _words(text)
    return " ".join(words) or None


def token_f1(text: str, answer: str) -> float:
    """F1 of the words that `text` and `answer` share, 0.0 to 1.0."""
    given, gold = Counter(_words(text)), Counter(_words(answer))
    common = sum((given & gold).values())
    return 2 * common / (given.total() + gold.total()) if common else 0.0


def says(text: str, answer: str, asked: frozenset[str] = frozenset()) -> bool:
    """Whether `text` claims what `answer` does and nothing else; see score. asked: key words of the question."""
    given, gold = _claim(text), _claim(answer)
    if given.words == gold.words:
        return True
    if _same_list(text, answer):
        return True
    for betrayer in (_NEGATIONS, _ALTERNATIVES):
        if betrayer & set(given.words) != betrayer & set(gold.words):
            return False
    if not gold.keys or given.numbers - gold.numbers - asked:
        return False
    extra = _extra(given.keys, gold.keys)
    if extra is None:
        return False
    if asked.issuperset(gold.keys):
        # The question offers the answer ("France or Spain?"): repeating its other words would be hedging.
        asked = frozenset()
    further = sum(word not in asked for word in extra)
    return further <= (len(gold.keys) // 4 if len(gold.keys) >= _SHORT else 0)


def _extra(given: tuple[str, ...], gold: tuple[str, ...]) -> list[str] | None:
    """The words of `given` that are not in `gold`, or None if it does not contain `gold` in order."""
    extra: list[str] = []
    at = 0
    for word in given:
        if at < len(gold) and word == gold[at]:
            at += 1
        else:
            extra.append(word)
    return extra if at == len(gold) else None


def _same_list(text: str, answer: str) -> bool:
    given, gold = (sorted(filter(None, map(normalise, _LIST.split(each)))) for each in (text, answer))
    return len(gold) > 1 and given == gold and all(len(item.split()) <= 3 for item in gold)


def _claim(text: str) -> _Claim:
    words = tuple(_words(text))
    return _Claim(words, tuple(word for word in words if word not in _FILLERS))


def _words(text: str) -> list[str]:
    text = unicodedata.normalize("NFKC", text[:_LONGEST]).replace("\u2212", "-").replace("%", " percent ")
    found = _WORD.findall(_THOUSANDS.sub("", _COMMAND.sub(" ", text)))
    kept = (word for place, word in enumerate(found) if not _is_article(word, place, len(found)))
    # Casefolding can decompose letters again.
    return [_plain_word(unicodedata.normalize("NFC", word.casefold())) for word in kept]


def _is_article(word: str, place: int, count: int) -> bool:
    # The A of "vitamin A" and "hepatitis A virus" is not an article.
    lower = word.lower()
    return lower in _ARTICLES and place + 1 < count and (word == lower or place == 0 or lower == "the")


def _plain_word(word: str) -> str:
    if "." in word:
        word = word.rstrip("0").rstrip(".")
    return _NUMBER_WORDS.get(word, word)


__all__ = ["normalise", "read_ground_truth", "says", "score", "token_f1"]
