"""Tokens of an answer to a knights-and-knaves puzzle: a person, a role, "not", "the rest" and so on.
Words that say nothing about roles are skipped; anything not understood makes the answer unreadable.

Example: "(1) Zoey is **not** a knight" -> (COUNT), (NAME, 0), (IS), (NOT), (ROLE, knight).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

# Far above any real answer (eight people in sentences need under 1,000 characters); bounds the time.
MAX_CHARS = 4_000


class Kind:
    """Kinds of tokens; plain numbers, because an answer is read for every rollout of a training step."""

    END = 0
    NAME = 1  # value: position of the person
    ROLE = 2  # value: 1 knight, 0 knave
    IS = 3  # value: 1 if its subject must be singular
    LINK = 4  # ":", "=", "->", "-" between a person and a role
    NOT = 5
    COMMA = 6
    AND = 7
    STOP = 8
    LINE = 9
    COUNT = 10  # a list number or a count; value: the number (0: over 20)
    ALL = 11
    BOTH = 12
    REST = 13
    NOBODY = 14
    NONE = 15  # an empty list of names
    EXCEPT = 16
    ONLY = 17
    TOO = 18
    BUT = 19
    SAME = 20  # "so is"; value: 1 if its subject must be singular
    NOR = 21
    UNKNOWN = 22


# (kind, value)
Token = tuple[int, int]
END: Token = (Kind.END, 0)
UNKNOWN: Token = (Kind.UNKNOWN, 0)
# Unlike "not", it can be the subject.
NEITHER: Token = (Kind.NOT, 1)


def _words(kind: int, words: str, value: int = 0) -> dict[str, Token | None]:
    return dict.fromkeys(words.split(), (kind, value))


def _skipped(words: str) -> dict[str, Token | None]:
    return dict.fromkeys(words.split())


_NUMBERS = "one two three four five six seven eight"
_VOCABULARY: dict[str, Token | None] = {
    **_words(Kind.ROLE, "knight knights truth truthteller truthtellers truth-teller truth-tellers truthful", 1),
    **_words(Kind.ROLE, "knave knaves liar liars lies lie lying", 0),
    **_words(Kind.IS, "is 's was", 1),
    **_words(Kind.IS, "are were be being as tell tells telling do does must has have to they're we're"),
    **_words(Kind.NOT, "not never non cannot isn't aren't doesn't don't can't wasn't"),
    "neither": NEITHER,
    **_words(Kind.AND, "and &"),
    **_words(Kind.ALL, "all everyone everybody"),
    **_words(Kind.BOTH, "both"),
    **_words(Kind.REST, "rest other others else remaining"),
    **_words(Kind.NOBODY, "no nobody"),
    **_words(Kind.NONE, "none"),
    **_words(Kind.EXCEPT, "except excluding apart"),
    **_words(Kind.ONLY, "only"),
    **_words(Kind.BUT, "but"),
    **_words(Kind.NOR, "nor"),
    **dict.fromkeys(("so is", "as is"), (Kind.SAME, 1)),
    **dict.fromkeys(("so are", "as are"), (Kind.SAME, 0)),
    **_words(Kind.TOO, "too also likewise well"),
    **{word: (Kind.COUNT, number) for number, word in enumerate(_NUMBERS.split(), 1)},
    # Words that do not affect who is what.
    **_skipped(
        "a an the that so therefore thus hence answer final finally solution conclusion we i it he she they who which "
        "while whereas however each every of in from for among there then this these them their his her its role roles "
        "name names person people persons inhabitant inhabitants islander islanders identity identities type types "
        "status always teller tellers because since my our here indeed definitely certainly clearly actually such "
        "respectively makes make follows exactly "
        "<b> </b> <i> </i> <strong> </strong> <em> </em> <ul> </ul> <ol> </ol> <li> <p>"
    ),
    "on the other hand": None,
    # Typography around names and roles; _TOKEN does not even match the most frequent characters of it.
    **_skipped("' • · ▪ ◦ ● ■ ‣ ∙ ○ ✦"),
    **_skipped(
        r"\boxed \text \textbf \textit \mathrm \mathbf \textrm \quad \qquad \left \right \begin \end \item "
        r"\, \; \: \! \_ \& \$ \[ \] \( \)"
    ),
    **{str(number): (Kind.COUNT, number) for number in range(1, 21)},
    **_words(Kind.AND, "/ +"),
    **_words(Kind.COMMA, ","),
    **_words(Kind.STOP, ". ; !"),
    **_words(Kind.LINK, ": = - | > -> => ≡"),
    **_words(Kind.LINE, r"\\ \n <br> <br/> </li> </p>"),
    "\n": (Kind.LINE, 0),
    **_words(Kind.NONE, "∅"),
    **_words(Kind.NOT, "¬ ≠"),
}
# Words that may reverse the meaning of an answer; a remark with one of them is never ignored.
_TURNING = frozenset(
    _skipped(
        "if or either unless maybe perhaps possibly probably might may could would should wrong false incorrect untrue "
        "opposite contrary reverse reversed swap swapped example assume assuming suppose supposing unknown uncertain "
        "undetermined unsure impossible contradiction contradictory guess likely seems instead vice versa nothing "
        "without won't wouldn't couldn't shouldn't didn't haven't hasn't"
    )
)
_TRANSLATE = str.maketrans(
    {
        **dict.fromkeys("‐‑‒–—―−﹣➖", "-"),
        **dict.fromkeys("→⇒⟶⟹➔➜➡", ">"),
        **dict.fromkeys("‘’ʼ´`＇", "'"),
        **dict.fromkeys("“”„«»「」『』", '"'),
        **dict.fromkeys("、", ","),
        **dict.fromkeys("。", "."),
        "\u2028": "\n",
        "\u2029": "\n",
        "\ufe0f": None,
    }
)
_TOKEN = re.compile(
    r"(?:so|as) (?:is|are)\b|on the other hand\b|</?[a-z]{1,6} ?/?>|"
    # not "I do not know", "cannot determine": these verbs are only harmless in these phrases
    r"(?:we|i)(?: can)? (?:know|think|believe|see|say|find|found|get|conclude|deduce|determine)d?\b|"
    r"[^\W\d_][^\W_]*(?:['-][^\W_]+)*"  # a word, with apostrophes and hyphens inside
    r"|\d+[^\W_]*"
    r"|'s\b"
    r"|\[[ \t]*\]|\{[ \t]*\}"
    r"|-+>?|=+>?|:+-*:*"
    r"|\\[A-Za-z]+|\\\\|\\."
    r"|\n|[^\s()*\"\[\]{}`#$_]"
)
# Where a remark can end: "(since her claim is true)", "After some thought, ...".
_BOUNDARY = re.compile(r"([,.;:()!\n]|\b(?:because|since)\b)", re.IGNORECASE)
_ABOUT_ROLES = frozenset(
    (
        *(Kind.NAME, Kind.ROLE, Kind.NOT, Kind.ALL, Kind.BOTH, Kind.REST),
        *(Kind.NOBODY, Kind.NONE, Kind.EXCEPT, Kind.ONLY, Kind.SAME),
    )
)


def tokens(text: str, people: Mapping[str, int]) -> list[Token] | None:
    """The tokens of an answer, END last, or None if it has a word or character outside the vocabulary.

    people: casefolded name -> position. A remark without people and roles, from one punctuation mark to the next, may
    use any words.
    """
    if len(text) > MAX_CHARS:
        return None
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_TRANSLATE)).translate(_TRANSLATE)
        # One ligature can become eighteen letters.
        if len(text) > MAX_CHARS:
            return None
    found = _tokens(text, people)
    if UNKNOWN in found:
        found = _tokens(_without_remarks(text, people), people)
        if UNKNOWN in found:
            return None
    found.append(END)
    return found


def is_word_of_answers(word: str) -> bool:
    """Whether this name could not be told apart from a word of the answer, like "Knight" or "All"."""
    return _VOCABULARY.get(word.casefold()) is not None


def _tokens(text: str, people: Mapping[str, int]) -> list[Token]:
    found: list[Token] = []
    for word in _TOKEN.findall(text.casefold()):
        if word in people:
            found.append((Kind.NAME, people[word]))
        elif word in _VOCABULARY:
            token = _VOCABULARY[word]
            if token is not None:
                found.append(token)
        elif not word.startswith(("we ", "i ")):
            found.extend(_rarer(word, people))
    return found


def _rarer(word: str, people: Mapping[str, int]) -> list[Token]:
    if word.isascii() and word.isdigit():
        return [(Kind.COUNT, 0)]
    if word[0] in "[{" and len(word) > 1:
        return [(Kind.NONE, 0)]
    if word[0] in "-=:":
        return [(Kind.LINK, 0)]
    if word.endswith("'s") and "'" not in word[:-2]:
        return [*_tokens(word[:-2], people), (Kind.IS, 1)]
    if "-" in word and "'" not in word:
        parts = [_tokens(part, people) for part in word.split("-")]
        return [token for part in parts for token in ((Kind.LINK, 0), *part)][1:]
    return [UNKNOWN]


def _without_remarks(text: str, people: Mapping[str, int]) -> str:
    kept = []
    explains = False
    for part in _BOUNDARY.split(text):
        found = _tokens(part, people)
        if UNKNOWN in found and not any(kind in _ABOUT_ROLES for kind, _ in found) and _harmless(part, explains):
            continue
        kept.append(part)
        if part:
            explains = part.casefold() in ("because", "since")
    return "".join(kept)


def _harmless(remark: str, explains: bool) -> bool:
    if any(character in "?~<" or unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co") for character in remark):
        return False
    # "... because that would be wrong" gives a reason; "The following is wrong: ..." reverses the answer.
    return explains or _TURNING.isdisjoint(re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", remark.casefold()))
