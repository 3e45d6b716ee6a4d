r"""Cleans the text of a mathematical answer: Unicode and LaTeX notation to one plain spelling, without wrappers.
Example: "The answer is $\dfrac{1}{2}\,\text{cm}$." becomes "\frac{1}{2} \text{cm}"; only notation changes, no value."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import accumulate

from reward_fns.math.style import unstyled
from reward_fns.math.units import MONEY

# Far above any published gold (the longest has under 400 characters); bounds the work per response.
MAX_CHARS = 1000

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻ⁿ", "0123456789-n")
_MORE_SIGNS = (
    *(r"\equiv ", r"\cap ", r"\setminus ", "|"),
    *(r"\lfloor ", r"\rfloor ", r"\lceil ", r"\rceil "),
)
_FRACTIONS = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_UNICODE = str.maketrans(
    {
        **{chr(code + 0xFEE0): chr(code) for code in range(0x21, 0x7F)},
        **dict.fromkeys("−–—‐‑﹣➖", "-"),
        **dict.fromkeys("×∗·⋅•∙✕", " * "),
        **dict.fromkeys("÷∕⁄", "/"),
        **dict.fromkeys("“”„", '"'),
        **dict.fromkeys("‘’′", "'"),
        **dict.fromkeys("\u00a0\u2009\u202f\u3000", " "),
        **{sign: r"\frac{" + unicodedata.normalize("NFKC", sign).replace("⁄", "}{") + "}" for sign in _FRACTIONS},
        **dict(zip("≤≥≠≈⟨⟩", (r"\le ", r"\ge ", r"\ne ", r"\approx ", r"\langle ", r"\rangle "), strict=True)),
        **dict(zip("√π∞∪∈±°", (r"\sqrt ", r"\pi ", r"\infty ", r"\cup ", r"\in ", r"\pm ", r"\deg "), strict=True)),
        **dict.fromkeys("º˚", r"\deg "),
        "℃": r"\deg C",
        "℉": r"\deg F",
        "¢": " cents",
        "…": r"\ldots ",
        **dict(zip("≡∩∖∣⌊⌋⌈⌉", _MORE_SIGNS, strict=True)),
        **dict(zip("θαβ", (r"\theta ", r"\alpha ", r"\beta "), strict=True)),
        **dict(zip("£€¥₹", (r" \gbp ", r" \eur ", r" \jpy ", r" \inr "), strict=True)),
        **dict.fromkeys("⇒⟹→⇔⟺", r" \Rightarrow "),
        **dict.fromkeys("∅Ø", r"\emptyset "),
        "，": ", ",
        "ℝ": r"\mathbb{R}",
    }
)
_ABOUT = r"(?:approximately|approx\.?|about|around|roughly)"
_SO = r"\\(?:approx|sim|cong|Rightarrow|Longrightarrow|implies|therefore)(?![A-Za-z])"
NAME = r"\s*(?:[A-Za-z]|\\[A-Za-z]+)(?:_(?:\w|\{\w+\}))?\s*"
_FUNCTIONS = "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|ln|log|exp|sqrt|lcm|gcd|max|min"

# (a string that the text must contain, pattern, replacement): most answers contain few of these strings.
_RULES: list[tuple[str, re.Pattern[str], str]] = [
    (sign, re.compile(pattern), replacement)
    for sign, pattern, replacement in (
        # A comma without space in LaTeX joins digits; a bare one may separate two numbers.
        ("", r"(?<=\d)\s*(?:\{,\}|,\s*\\!|\\,|\\!)\s*(?=\d{3}(?!\d))", ""),
        ("\\", r"\\!", ""),
        ("'", r"(?<=\d)'(?=\d{3}(?!\d))", ""),
        ("US", r"^\s*US\\?\$\s*(?=\d)", r"\\$"),
        ("$", r"^\s*(-?)\$\s*(?=[\d.])([^$]*)$", r"\1\\$\2"),
        ("$", r"\\\$", r" \\usd "),
        ("$", r"\$", ""),
        ("\\text", rf"\\text\s*\{{\s*(\\(?:{MONEY}))\s*\}}", r" \1 "),
        ("\\", rf"^\s*(-?[\d.,{{}}]+)\s*\\({MONEY})\s*$", r" \\\2 \1"),
        ("USD", r"^\s*USD\s*(?=[\d.])", r" \\usd "),
        ("\\", r"(?<!\\)\\[()\[\]]", " "),
        ("\\", r"\\(?:left|right|middle|[bB]igg?[lrm]?)(?![A-Za-z])\.?", ""),
        ("", r"(?<!\\)\\[,;:> ]|(?<!~)~(?!~)", " "),
        ("frac", r"\\(?:[dtcs]|nice)frac(?![A-Za-z])", r"\\frac"),
        ("\\over", r"\{\s*([^{}]+?)\s*\\over(?![A-Za-z])\s*([^{}]+?)\s*\}", r"\\frac{\1}{\2}"),
        ("\\over", r"^\s*(-?\w+)\s*\\over(?![A-Za-z])\s*(\w+)\s*$", r"\\frac{\1}{\2}"),
        ("out of", r"(?<=\d)\s+out of\s+(?=\d)", "/"),
        ("binom", r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
        ("\\text", rf"\\text\s*\{{\s*({_FUNCTIONS})\s*\}}", r" \\\1 "),
        ("\\text", r"\\text\s*\{\s*,?\s*(and|or)\s*\}", r" \1 "),
        ("", r"\\text\s*\{\s*(?:percent|per cent|%)\s*\}|\\%|(?<=[\d}) ])\s*per ?cent\b", "%"),
        (
            "\\",
            r"\^\s*(?:\{\s*\\(?:circ|deg|degree)\s*\}|\\(?:circ|deg|degree)(?![A-Za-z]))|\\degree(?![A-Za-z])",
            r" \\deg ",
        ),
        ("degree", r"(?<=[\d}) ])\s*\\text\s*\{\s*degrees?(?![a-z])\s*([A-Za-z]*)\s*\}", r" \\deg \1"),
        ("deg", r"(?<=[\d}) ])\s*deg(?:rees?)?(?![A-Za-z])", r" \\deg "),
        ("\\bbox", r"\\bbox\s*(?:\[[^\]]*\])?", ""),
        (
            "\\begin",
            r"^\s*\\begin\s*\{(equation|displaymath|aligned|align|gathered|gather|split)(\*?)\}"
            r"((?:(?!\\\\|\\begin).)*)\\end\s*\{\1\2\}\s*$",
            r"\3",
        ),
        ("&", r"^([^&\\]*)&\s*=([^&]*)$", r"\1=\2"),
        (")", r"^\s*([A-J])\)\s*$", r"(\1)"),
        ("==", r"(?<![=<>!])==(?!=)", "="),
        ("+", r"\+\s*/\s*-|\+-(?=\s*[\d\\])", r" \\pm "),
        ("\\mp", r"\\mp(?![A-Za-z])", r"\\pm"),
        ("", r"<=|\\leq{0,2}(?:slant)?(?![A-Za-z])", r" \\le "),
        ("", r">=|\\geq{0,2}(?:slant)?(?![A-Za-z])", r" \\ge "),
        # 4!=24 shows work.
        ("", r"(?<![\d)}])!=|\\not\s*=|\\neq?(?![A-Za-z])", r" \\ne "),
        ("\\lt", r"\\lt(?![A-Za-z])", " < "),
        ("\\gt", r"\\gt(?![A-Za-z])", " > "),
        ("", r"\*\*|\^\^", "^"),
        ("x", r"(?<=\d) ?x ?(?=10 ?\^)", " * "),
        ("\\varnothing", r"\\varnothing(?![A-Za-z])", r"\\emptyset"),
        ("\\", r"\\(?:cdot|times|ast)(?![A-Za-z])", " * "),
        ("\\div", r"\\div(?![A-Za-z])", " / "),
        ("brac", r"\\lbrace(?![A-Za-z])", r"\\{"),
        ("brac", r"\\rbrace(?![A-Za-z])", r"\\}"),
        ("brac", r"\\lbrack(?![A-Za-z])", "["),
        ("brac", r"\\rbrack(?![A-Za-z])", "]"),
        ("\\big", r"\\big(cup|cap)(?![A-Za-z])", r"\\\1"),
        ("setminus", r"\\smallsetminus(?![A-Za-z])", r"\\setminus"),
        ("\\", r"\\(?:land|wedge)(?![A-Za-z])", " and "),
        ("\\", r"\\(?:lor|vee)(?![A-Za-z])", " or "),
        ("vert", r"\\[lr]?vert(?![A-Za-z])", " | "),
        ("\\", r"\\(?:simeq|thickapprox|approxeq|doteq)(?![A-Za-z])", r" \\approx "),
        ("a", rf"\\text\s*\{{\s*\(?\s*{_ABOUT}\s*([\d.,]*\d)\s*\)?\s*\}}", r" \\approx \1 "),
        ("\\approx", r"\(\s*(\\approx[^()]*)\)\s*$", r" \1"),
        ("", rf"^\s*(?:[=:]|{_SO}|(?:{_ABOUT}\s|\\text\s*\{{\s*{_ABOUT}\s*\}})(?=[^A-Za-z]*\d))\s*", ""),
        ("", r"(?<![A-Za-z\\{])(?:gcd|GCD|HCF|hcf)(?=\s*[(\[])", r"\\gcd"),
        ("", r"(?<![A-Za-z\\{])(?:lcm|LCM)(?=\s*[(\[])", r"\\lcm"),
        ("m", r"(?<![A-Za-z\\{])(max|min)(?=\s*[(\[])", r"\\\1"),
        # Remainders in one notation: 17 \mod 5 for \bmod, \pmod{5}, (mod 5) and 17 % 5.
        ("mod", r"\(\s*(?:\\text\s*\{\s*mod\s*\}|\\?b?mod)(?![A-Za-z])([^()]*)\)", r" \\mod \1 "),
        (
            "mod",
            r"\\(?:[bp]?mod|pod)(?![A-Za-z])|\\text\s*\{\s*mod(?:ulo)?\s*\}|(?<![A-Za-z\\])mod(?:ulo)?(?![A-Za-z])",
            r" \\mod ",
        ),
        # The percent sign always asks for a division, even if nothing is left to divide; 5 \pmod 6 may be a residue.
        ("%", r"(?<=[\d)}])\s*%\s*(?=[({]?\d)", r" * 1 \\mod "),
        # Combinations likewise: {8 \choose 4}, {}_8C_4, C(8,4).
        ("\\choose", r"\{\s*([^{}]+?)\s*\\choose(?![A-Za-z])\s*([^{}]+?)\s*\}", r"\\binom{\1}{\2}"),
        ("\\choose", r"^\s*(\w+)\s*\\choose(?![A-Za-z])\s*(\w+)\s*$", r"\\binom{\1}{\2}"),
        ("C", r"(?:\{\s*\}|(?<![\w}]))[_^]\s*\{?(\w+)\}?\s*C\s*_\s*\{?(\w+)\}?", r"\\binom{\1}{\2}"),
        ("C", r"(?<![A-Za-z\\_^{])C\s*\(\s*(\d+)\s*,\s*(\d+)\s*\)", r"\\binom{\1}{\2}"),
        ("C", r"(?<![\w.\\_^{])(\d{1,4})\s?C\s?(\d{1,4})(?![\w.])", r"\\binom{\1}{\2}"),
        # Permutations are combinations times orders.
        ("P", r"(?:\{\s*\}|(?<![\w}]))[_^]\s*\{?(\d+)\}?\s*P\s*_\s*\{?(\d+)\}?", r"(\\binom{\1}{\2} * \2!)"),
        ("P", r"(?<![\w.\\_^{])(\d{1,4})\s?P\s?(\d{1,4})(?![\w.])", r"(\\binom{\1}{\2} * \2!)"),
        # Repeating decimals: 0.\dot{3}, 0.\dot{1}4\dot{2}, 0.\bar{3}, 0.(3).
        ("\\dot", r"(?<=[.\d])\\dot\s*\{?(\d)\}?(\d*)\\dot\s*\{?(\d)\}?", r"\\overline{\1\2\3}"),
        ("\\", r"(?<=[.\d])\\(?:dot|bar)\s*(?:\{(\d+)\}|(\d))", r"\\overline{\1\2}"),
        ("(", r"(?<![\d.])(\d+\.)\((\d+)\)", r"\1\\overline{\2}"),
        ("textsuperscript", r"\\textsuperscript\s*(?=\{)", "^"),
        ("\\forall", r"^\s*\\forall(?![A-Za-z])", ""),
        ("mapsto", r"^\s*(?:[A-Za-z]\s*:\s*)?([A-Za-z])\s*\\mapsto(?![A-Za-z])", r"f(\1)="),
        ("}", r"\\\{\s*\\\}|^\s*\{\s*\}\s*$", r" \\emptyset "),
        ("", r"(?<![A-Za-z\\])(?:infinity|inf|oo)(?![A-Za-z])|\\text\s*\{infinity\}", r" \\infty "),
        ("", r"(?<=[)\]])\s*(?:U|union)\s*(?=[(\[])", r" \\cup "),
        # A line for each of several equations.
        ("\n", rf"(?<=[\w)}}\]])\s*\n\s*(?={NAME}=)", ", "),
        ("", r"[ \t\r\n]+", " "),
    )
]
_REALS = re.compile(
    r"(^[\s$({]*|\\in\s*)(?:\\(?:mathbf|textbf|mathrm|bf|Bbb)\s*\{?\s*R(?![A-Za-z_])\s*\}?|\\(?:R|reals|Reals)(?![A-Za-z]))"
)
# Limits on what a computer algebra system gets: it would compute numbers with millions of digits.
_MAX_SYMBOLIC_CHARS = 400
_MAX_SYMBOLIC_DEPTH = 20
_BOMB = re.compile(
    r"\^\s*\{?\s*[\d(]+\s*\}?\s*\^|\^\s*\{[^{}]*\^|\d{40,}|\^\s*[{(]?\s*-?\d{5,}|\^\s*\{?\s*\d+\s*!"
    r"|(?:\d{5,}|[)!}])\s*!|\\binom\s*\{\d{6,}|\d\s*[eE]\s*\d{4,}"
)
# 0.4545..., with the period written at least twice.
_ENDLESS = re.compile(
    r"(?<![\d.])(\d{0,20}\.\d{0,12}?)(\d{1,9}?)\2{1,20}\s*(?:\.{3}|\\(?:ldots|dots|cdots)(?![A-Za-z]))"
)
_WRAPPED = re.compile(r"(\*{1,3}|_{1,2}|`{1,3})((?:(?!\1).)+)\1", re.DOTALL)
# A word of an announcement, but none that denies.
_WORD = (
    r"(?!(?:not|no|never|none|neither|nor|wrong|incorrect|false|cannot|except|unless|without|isn't|if|or)\b)"
    r"[a-z][a-z'-]*"
)
_CLAIM = re.compile(
    r"(?:#{1,6}\s+)?(?:"
    r"(?:(?:so|thus|hence|therefore|and|then)\b,?\s+)*(?:(?:the|our|my|final|correct)\s+)*"
    rf"(?:{_WORD}\s+){{0,6}}?"
    rf"(?:(?:is|are|equals|it's)(?:\s+equal\s+to)?\s*:?\s+|(?=[a-z]{{3}}){_WORD}\s*:\s*"
    r"|(?:answer|result|solution)s?\s*=\s*|answer\s+(?=[^a-z\s]))"
    r"|(?:(?:so|thus|hence|therefore|then)\b,?\s+)+|(?:option|choice)\s+(?=\(?[A-Za-z]\b)"
    r"|(?:for\s+)?(?:all|any|every)\s+(?:real\s+)?(?=[a-z]\s*(?:[<>]|\\(?:[lg]e|ne|in)(?![A-Za-z])))"
    r"|the\s+(?=\d+(?:st|nd|rd|th)\b)|(?:the\s+)?(?:ordered\s+)?(?:points?|pairs?|triples?|vectors?)\s+(?=\()"
    r"|either\s+|)",
    re.IGNORECASE,
)
_AFTERWARDS = re.compile(
    r"\s+is\s+(?:the|our|my)\s+(?:final\s+|correct\s+)?(?:answer|result|solution)$"
    r"|(?<=[\w)}\]])\s*(?:\\(?:checkmark|blacksquare|square|Box|qed)(?![A-Za-z])|[✓✔✅]\ufe0f?)$",
    re.IGNORECASE,
)
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")


def clean(text: str) -> str | None:
    """The answer in plain spelling, or None if it is empty, over MAX_CHARS, or has invisible characters."""
    return None if len(text) > MAX_CHARS else _clean(text)


def _raised(text: str) -> str:
    return f"^{text}" if len(text) == 1 else f"^{{{text}}}"


@lru_cache(maxsize=4096)
def _clean(text: str) -> str | None:
    if not text.isprintable() and any(_invisible(sign) for sign in text):
        return None
    if not text.isascii():
        text = re.sub(r"^\s*[•▪◦‣✓✔✅]\ufe0f?\s*", "", text)
        text = re.sub("[₀-₉]+", lambda m: "_{" + m[0].translate(_SUBSCRIPTS) + "}", text)
        text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻ⁿ]+", lambda m: _raised(m[0].translate(_SUPERSCRIPTS)), text)
        text = re.sub(r"√\s*([A-Za-z\d]+|\([^()]*\))", r"\\sqrt{\1}", text).translate(_UNICODE)
    if "R" in text or "eals" in text:
        text = _REALS.sub(r"\1\\mathbb{R}", text)
    if "." in text:
        text = _ENDLESS.sub(r"\1\\overline{\2}", text)
    text = unstyled(_unwrap(text))
    for sign, pattern, replacement in _RULES:
        if sign in text:
            text = pattern.sub(replacement, text)
    text = _unwrap(text)
    # Digits of other scripts are numbers for Python, but not an answer in the requested form.
    return text if any(sign.isalnum() for sign in text) and not re.search(r"(?![0-9])\d", text) else None


def without_claim(text: str) -> str:
    """The cleaned text without words that only introduce an answer: "The sum is 12" -> "12"."""
    text = _AFTERWARDS.sub("", text)
    words = _TEXT.match(text) if text.startswith("\\text") else None
    plain = f"{words[1]} {text[words.end() :]}" if words else text
    claim = _CLAIM.match(plain)
    return _unwrap(plain[claim.end() :]) if claim and claim.end() else _unwrap(text)


def canonical(text: str) -> str:
    r"""The cleaned text without spaces, \text braces, redundant braces and brackets around a word.

    Two answers with the same canonical text are the same answer.
    """
    # The space in "4 2" stays: without it, the digits would become another number.
    bare = re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", _TEXT.sub(r"\1", text))
    bare = re.sub(r"(?<=[_^])\{(\w+)\}", r"\1", bare)
    return re.sub(r"\(([A-Za-z]+)\)", r"\1", bare) if re.fullmatch(r"\([A-Za-z]+\)", bare) else bare


def _unwrap(text: str) -> str:
    while True:
        before = text
        text = text.strip().rstrip(".,;:").rstrip()
        if text.endswith("\\"):
            text = text[:-1]
        if wrapped := _WRAPPED.fullmatch(text):
            text = wrapped[2]
        if text.startswith("{") and text.endswith("}") and _is_wrapped(text[1:-1]):
            text = text[1:-1]
        if len(text) > 2 and text[0] == text[-1] and text[0] in "$\"'" and text[0] not in text[1:-1]:
            text = text[1:-1]
        if text == before:
            return text


_BUILDS = re.compile(rf"{NAME}(?:\\in[^|:<>]*)?(?:\||:|\\mid(?![A-Za-z]))")


def _is_wrapped(inner: str) -> bool:
    """Whether braces around this are redundant: they match, and do not enclose a set such as {1, 2}."""
    if _BUILDS.match(inner) or any(sign == "," and not depth for sign, depth in zip(inner, depths(inner), strict=True)):
        return False
    return bool(inner.strip()) and balanced(inner)


def depths(text: str, opening: str = "([{", closing: str = ")]}") -> list[int]:
    """How many brackets are open after each sign of the text; a bracket of any kind closes any other."""
    return list(accumulate((sign in opening) - (sign in closing) for sign in text))


def balanced(text: str) -> bool:
    """Whether the braces of `text` are balanced, apart from escaped ones."""
    found = depths(re.sub(r"\\.", "", text), "{", "}")
    return not found or (min(found) >= 0 and found[-1] == 0)


def explosive(text: str) -> bool:
    """Whether the text is too dangerous for symbolic verification: a power tower, a huge factorial, deep brackets."""
    deepest = max(depths(text), default=0)
    return len(text) > _MAX_SYMBOLIC_CHARS or deepest > _MAX_SYMBOLIC_DEPTH or bool(_BOMB.search(text))


def _invisible(sign: str) -> bool:
    return not sign.isprintable() and sign not in "\n\t\r" and unicodedata.category(sign) != "Zs"
