r"""Cleaning of the text of a mathematical answer: Unicode and LaTeX notation to one plain spelling, wrappers off.
Example: "The answer is $\dfrac{1}{2}\,\text{cm}$." becomes "\frac{1}{2} \text{cm}"; only notation changes, no value."""

from __future__ import annotations

import re
import unicodedata

# Far above any published gold (the longest has under 400 characters); bounds the work on any response.
MAX_CHARS = 1000

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻ⁿ", "0123456789-n")
_UNICODE = str.maketrans(
    {
        **{chr(code + 0xFEE0): chr(code) for code in range(0x21, 0x7F)},
        **dict.fromkeys("−–—‐‑﹣➖", "-"),
        **dict.fromkeys("×∗·⋅•∙✕", " * "),
        **dict.fromkeys("÷∕⁄", "/"),
        **dict.fromkeys("“”„", '"'),
        **dict.fromkeys("‘’′", "'"),
        **dict.fromkeys("\u00a0\u2009\u202f\u3000", " "),
        **{sign: rf"\frac{{{a}}}{{{b}}}" for sign, a, b in ("½12", "⅓13", "⅔23", "¼14", "¾34")},
        **dict(zip("≤≥≠≈⟨⟩", (r"\le ", r"\ge ", r"\ne ", r"\approx ", r"\langle ", r"\rangle "), strict=True)),
        **dict(zip("√π∞∪∈±°", (r"\sqrt ", r"\pi ", r"\infty ", r"\cup ", r"\in ", r"\pm ", r"\deg "), strict=True)),
        **dict(zip("θαβ", (r"\theta ", r"\alpha ", r"\beta "), strict=True)),
        **dict.fromkeys("£€¥₹", ""),
        "∅": r"\emptyset ",
        "，": ", ",
        "ℝ": r"\mathbb{R}",
    }
)
_FUNCTIONS = "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|ln|log|exp|sqrt|lcm|gcd|max|min"

_DELIMITERS = r"\\(?:left|right|[bB]igg?[lr]?)(?![A-Za-z])\.?"
_SPACES = r"(?<!\\)\\[,;:> ]|~|\\(?:q?quad|displaystyle|textstyle|limits|nolimits)(?![A-Za-z])|\\hspace\{[^{}]*\}"
_RULES: list[tuple[re.Pattern[str], str]] = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # A comma that LaTeX sets without space joins digits; a bare one may separate two numbers.
        (r"(?<=\d)\s*(?:\{,\}|,\s*\\!|\\,|\\!)\s*(?=\d{3}(?!\d))", ""),
        (r"\\!", ""),
        (r"\\\$", r" \\usd "),
        (r"\$", ""),
        (r"(?<!\\)\\[()\[\]]", " "),
        (_DELIMITERS, ""),
        (_SPACES, " "),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
        (r"\\(?:textbf|textit|textrm|textsf|textnormal|mbox|hbox)\s*(?=\{)", r"\\text"),
        (rf"\\(?:mathrm|operatorname\*?|mathop|text)\s*\{{\s*({_FUNCTIONS})\s*\}}", r" \\\1 "),
        (r"\\(?:mathrm|mathbf|mathit|mathsf|boldsymbol|bm|operatorname\*?|mathop)\s*\{\s*([A-Za-z])\s*\}", r" \1 "),
        (r"\\(?:mathrm|mathbf|mathit|mathsf|operatorname\*?|mathop)\s*(?=\{)", r"\\text"),
        (r"\\text\s*\{\s*,?\s*(and|or)\s*\}", r" \1 "),
        (r"\\text\s*\{\s*(?:percent|per cent|%)\s*\}|\\%|(?<=[\d}) ])\s*per ?cent\b", "%"),
        (r"\^\s*\{?\s*\\(?:circ|deg|degree)(?![A-Za-z])\s*\}?|\\degree(?![A-Za-z])", r" \\deg "),
        (r"(?<=[\d}) ])\s*(?:degrees?\b|\\text\s*\{\s*degrees?\s*\})", r" \\deg "),
        (r"<=|\\leq?(?:slant)?(?![A-Za-z])", r" \\le "),
        (r">=|\\geq?(?:slant)?(?![A-Za-z])", r" \\ge "),
        (r"!=|\\neq?(?![A-Za-z])", r" \\ne "),
        (r"\\lt(?![A-Za-z])", " < "),
        (r"\\gt(?![A-Za-z])", " > "),
        (r"\*\*|\^\^", "^"),
        (r"(?<=\d) ?x ?(?=10 ?\^)", " * "),
        (r"\\varnothing(?![A-Za-z])", r"\\emptyset"),
        (r"\\(?:cdot|times|ast)(?![A-Za-z])", " * "),
        (r"\\div(?![A-Za-z])", " / "),
        (r"\\(?:lbrace)(?![A-Za-z])", r"\\{"),
        (r"\\(?:rbrace)(?![A-Za-z])", r"\\}"),
        (r"\\[lr]?vert(?![A-Za-z])", " | "),
        (r"\\approx(?![A-Za-z])|≈|\\simeq(?![A-Za-z])", " = "),
        (r"(?<![A-Za-z\\])(?:infinity|inf|oo)(?![A-Za-z])|\\text\s*\{infinity\}", r" \\infty "),
        (r"(?<=[)\]])\s*U\s*(?=[(\[])", r" \\cup "),
        (r"[ \t\r\n]+", " "),
    )
]
# What would make a computer algebra system compute numbers of millions of digits.
_MAX_SYMBOLIC_CHARS = 400
_MAX_SYMBOLIC_DEPTH = 20
_BOMB = re.compile(
    r"\^\s*\{?\s*[\d(]+\s*\}?\s*\^|\^\s*\{[^{}]*\^|\d{40,}|\^\s*[{(]?\s*-?\d{6,}|\^\s*\{?\s*\d+\s*!"
    r"|(?:\d{5,}|[)!}])\s*!|\\binom\s*\{\d{6,}|\d\s*[eE]\s*\d{4,}"
)
_WRAPPED = re.compile(r"(?:\*\*|__|`)(.*)(?:\*\*|__|`)", re.DOTALL)
_CLAIM = re.compile(
    r"(?:(?:so|thus|hence|therefore|and|then)\b,?\s+)*"
    r"(?:(?:the|our|my|final|correct)\s+)*(?:[a-z][a-z'-]*\s+){0,6}?"
    r"(?:(?:is|are|equals)(?:\s+equal\s+to)?\s*:?\s+|(?:answer|result|solution)s?\s*[:=]\s*)"
    r"|(?:(?:so|thus|hence|therefore|then)\b,?\s+)+|(?:option|choice)\s+(?=\(?[A-Za-z]\b)",
    re.IGNORECASE,
)
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")


def clean(text: str) -> str | None:
    """The answer in plain spelling, or None if it holds no answer: empty, over MAX_CHARS, or with invisible signs."""
    if len(text) > MAX_CHARS or any(_invisible(sign) for sign in text):
        return None
    if not text.isascii():
        text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻ⁿ]+", lambda m: "^{" + m[0].translate(_SUPERSCRIPTS) + "}", text)
        text = re.sub(r"√\s*([A-Za-z\d]+|\([^()]*\))", r"\\sqrt{\1}", text).translate(_UNICODE)
    text = _unwrap(text)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    text = _unwrap(text)
    # Digits of other scripts would count as numbers for Python, and are no answer in the asked form.
    return text if any(sign.isalnum() for sign in text) and not re.search(r"(?![0-9])\d", text) else None


def without_claim(text: str) -> str:
    """The cleaned text without words that only announce an answer: "The sum is 12" -> "12"."""
    claim = _CLAIM.match(text)
    return _unwrap(text[claim.end() :]) if claim else text


def canonical(text: str) -> str:
    r"""The cleaned text without spaces, \text braces, redundant braces and one pair of brackets round a word.

    Two answers with the same canonical text are the same answer.
    """
    # The space in "4 2" stays: without it, digits side by side would become another number.
    bare = re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", _TEXT.sub(r"\1", text))
    bare = re.sub(r"(?<=[_^])\{(\w+)\}", r"\1", bare)
    return re.sub(r"\(([A-Za-z]+)\)", r"\1", bare) if re.fullmatch(r"\([A-Za-z]+\)", bare) else bare


def _unwrap(text: str) -> str:
    while True:
        before = text
        text = text.strip().rstrip(".,;:").rstrip()
        if text.endswith("\\"):
            text = text[:-1]
        if boxed := re.fullmatch(r"\\(?:boxed|fbox)\s*\{(.*)\}", text, re.DOTALL):
            text = boxed[1] if balanced(boxed[1]) else text
        if (wrapped := _WRAPPED.fullmatch(text)) and text[0] == text[-1]:
            text = wrapped[1]
        if len(text) > 2 and text[0] == text[-1] and text[0] in "$\"'" and text[0] not in text[1:-1]:
            text = text[1:-1]
        if text == before:
            return text


def balanced(text: str) -> bool:
    """Whether every brace of `text` has its partner, escaped ones aside."""
    depth = 0
    for sign in re.sub(r"\\.", "", text):
        depth += (sign == "{") - (sign == "}")
        if depth < 0:
            return False
    return depth == 0


def explosive(text: str) -> bool:
    """Whether symbolic verification of the text is refused: a tower of powers, a huge factorial, deep brackets."""
    depth = deepest = 0
    for sign in text:
        depth += (sign in "([{") - (sign in ")]}")
        deepest = max(deepest, depth)
    return len(text) > _MAX_SYMBOLIC_CHARS or deepest > _MAX_SYMBOLIC_DEPTH or bool(_BOMB.search(text))


def _invisible(sign: str) -> bool:
    return not sign.isprintable() and sign not in "\n\t\r" and unicodedata.category(sign) != "Zs"
