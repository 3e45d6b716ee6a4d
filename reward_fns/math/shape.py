r"""The shape of a mathematical answer: a quantity, list, set, tuple, interval, union, matrix, ratio, equation or text.
Example: "x = 2 \text{ or } x = 3" is a list of two equations; "[0, \infty)" is a fence of two quantities."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from functools import partial

from reward_fns.math.claim import read_equation
from reward_fns.math.expression import Node, Unreadable
from reward_fns.math.forms import MAX_ITEMS, Claim, Equation, Group, Shape, Text, split, tops
from reward_fns.math.named import named_values
from reward_fns.math.quantity import Quantity, read_quantity
from reward_fns.math.sets import intersection, is_in_reals, read_set
from reward_fns.math.text import NAME, balanced, canonical
from reward_fns.math.units import MONEY
from reward_fns.math.value import evaluate, same_value

_OPENING = {"(": "(", "[": "[", r"\langle": "("}
_CLOSING = {")": ")", "]": "]", r"\rangle": ")"}
_SEPARATOR = re.compile(r",\s*(?:and|or)\s|[,;&]|(?<![A-Za-z])(?:and|or)(?![A-Za-z])")
_STRONG_SEPARATOR = re.compile(r";|,?\s*(?<![A-Za-z])or(?![A-Za-z])")
_AND = re.compile(r"(?<![A-Za-z])and(?![A-Za-z])")
_COMMA = re.compile("[,;]")
_EQUALS = re.compile("=")
_CUP = re.compile(r"\\cup(?![A-Za-z])")
_COLON = re.compile(":")
_MATRIX = re.compile(
    r"(?P<factor>[^&]*?)\\begin\s*\{(?P<kind>(?:[pbB]|small)?matrix|array)\}(?:\s*\{[lcr|]*\})?(?P<rows>.*)\\end\s*\{(?P=kind)\}",
    re.DOTALL,
)
_SYSTEM = re.compile(
    r"(?:\\\{)?\s*\\begin\s*\{(cases|aligned|array|gathered|align\*?)\}(?:\s*\{[lcr|]*\})?(.*)\\end\s*\{\1\}", re.DOTALL
)
_ROW = re.compile(r"\\\\(?:\[[^\]]*\])?")
_TIME = re.compile(r"\d{1,2}:\d\d(?::\d\d)?\s*(?:[ap]\.?m\.?)?", re.IGNORECASE)
_IN_A_BASE = re.compile(
    r"\(?\s*(?:\\(?:text|overline)\s*\{)?\s*(?P<digits>\d[\dA-Z]*(?:\.[\dA-Z]+)?)\s*\}?\s*\)?\s*"
    r"(?:_\s*\{?\s*\(?|\(?(?:\\text\s*\{)?\s*\(?\s*(?:in\s+)?base[\s}]*)\s*(?:\\text\s*\{)?\s*(?:base[\s}]+)?"
    r"(?P<base>\d{1,2}|[a-z]{3,7})\s*\}?\s*\)?\s*\}?\s*\)?"
)
_PREFIXED = re.compile(r"0(?:x(?P<x>[\dA-Fa-f]+)|b(?P<b>[01]+)|o(?P<o>[0-7]+))")
_PREFIXES = {"x": 16, "b": 2, "o": 8}
_POINT = re.compile(r"(?<![\w\\)}])[A-Z]'?\s*(?=\([^()]*,[^()]*\))")
_LABEL = re.compile(r"\(\s*[A-J]\s*\)|\\text\s*\{\s*[A-J]\b")
_LABELLED = re.compile(
    r"\s*(?:\\text\s*\{\s*\(?([A-J])[).:]*\s*\}|\(([A-J])\)|([A-J])[.:)](?=\s))"
    r"[\s:]*(?=[-\d\\({$])(?=.*[\d\\])(.+)",
    re.DOTALL,
)
_ARTICLE = re.compile(r"^(?:\\text\s*\{)?\s*(?:(?:it|this|that)\s+is\s+)?(?:an?|the)\s+(?=[a-z]{3})", re.IGNORECASE)
_ARROW = re.compile(
    r"\\(?:Rightarrow|Longrightarrow|implies|iff|Leftrightarrow|Longleftrightarrow|rightarrow)(?![A-Za-z])|, so(?= )"
)
_BASE_NAMES = "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_BASES = {name: base for base, name in enumerate(_BASE_NAMES.split(), start=2)}


def labelled(text: str) -> tuple[str, str] | None:
    """The letter and the text of a choice with its letter: (C) 47."""
    found = _LABELLED.fullmatch(text)
    return (found[1] or found[2] or found[3], found[4]) if found and not _LABEL.search(found[4]) else None


def point_names(text: str) -> list[str]:
    """The names of points with coordinates: P in P(-2, 5)."""
    return [name.strip() for name in _POINT.findall(text)]


def readings(text: str) -> list[Shape]:
    """The shapes that a cleaned text may have, most likely first: "70,110" is a number, but may also be a list."""
    if choice := labelled(text):
        return [shape(choice[1]), Text(choice[0], words=True)]
    found = [shape(text)]
    if "," in text or " " in text:
        grouped = re.fullmatch(
            rf"([-\s]|\\(?:{MONEY}))*(\d{{1,3}}(?:,\d{{3}})+|\d{{1,3}}(?: \d{{3}})+)(?![\d,])(?:[^,]*)",
            text,
            re.DOTALL,
        )
        if grouped:
            found.insert(0, shape(text.replace(grouped[2], re.sub("[, ]", "", grouped[2]), 1)))
        elif re.search(r",\s|;", text) and re.search(r"\d,\d{3}(?!\d)", text):
            found.insert(0, shape(re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)))
    if worded := re.fullmatch(r"\\text\s*\{([^{}]*)\}", text):
        found.append(shape(worded[1]))
    # P(-2, 5) is the point (-2, 5), unless it is a value such as C(5, 2).
    if not isinstance(found[0], Quantity) and (bare := _POINT.sub("", text)) != text:
        found.append(shape(bare))
    return found


def gold_readings(text: str) -> list[Shape]:
    """The shapes of a gold: digits in groups of three are a number, not a list, since 1, 0 is not 1,000."""
    found = readings(text)
    number = len(found) > 1 and isinstance(found[0], Quantity) and isinstance(found[1], Group)
    return found[:1] if number else found


def shape(text: str) -> Shape:
    """The shape of a cleaned text; Text if it is nothing else."""
    text = text.strip()
    if text.isdigit():
        return Quantity(("num", Fraction(text)), text)
    if ":" in text and _TIME.fullmatch(text):
        return Text(text, words=True)
    if in_base := _in_a_base(text):
        return in_base
    for read in _READERS:
        found = read(text)
        if found is not None:
            return found
    plain = re.sub(r"\\text\s*\{[^{}]*\}", "", text)
    # Digits separated by spaces or dots (2 3, 1.2.3) are not a formula either.
    formula = re.search(r"[\d\\^_=<>+*/|]|(?<![A-Za-z])[A-Za-z]'", plain) and not re.fullmatch(r"[\d. ]+", plain)
    return Text(text, words=balanced(text) and not formula)


def _derived(text: str) -> Shape | None:
    """The solution at the end of 2x = 4 \\implies x = 2; Text if it does not solve the equations before it."""
    *steps, last = _ARROW.split(text)
    found = shape(last) if steps else None
    if not isinstance(found, Equation) or not found.name or len(found.sides) != 2:
        return None
    try:
        value = evaluate(found.sides[1].node, {})
        for step in map(shape, steps):
            if not isinstance(step, Equation) or len(step.sides) != 2 or not isinstance(value, Fraction):
                return None
            if not same_value(*(evaluate(side.node, {found.name: value}) for side in step.sides)):
                return Text(text, words=False)
    except Unreadable:
        return None
    return found


def _in_a_base(text: str) -> Text | None:
    if prefixed := _PREFIXED.fullmatch(text):
        kind = prefixed.lastgroup or ""
        return Text(f"{prefixed[kind].upper()}_{_PREFIXES[kind]}", words=True)
    if "_" not in text and "base" not in text:
        return None
    found = _IN_A_BASE.fullmatch(text)
    base = found and (int(found["base"]) if found["base"].isdigit() else _BASES.get(found["base"]))
    return Text(f"{found['digits']}_{base}", words=True) if found and base and base != 10 else None


def key_of(text: str, words: bool = True) -> str:
    """The key for comparing a text literally; for words, ignoring case and quotes."""
    bare = canonical(_ARTICLE.sub("", text) if words else text)
    return re.sub(r"(?<![\d.])\.(?!\.)|(?<!\.)\.(?![\d.])|['\"]", "", bare).lower() if words else bare


def _items(parts: list[str]) -> tuple[Shape, ...]:
    items: list[Shape] = []
    for part in parts:
        item = shape(part)
        if named := named_values(item):
            items.append(Group("fence", tuple(named.values()), part, "()"))  # (x, y) = (1, 2), a point of several
        else:
            items.extend(item.items if isinstance(item, Group) and item.kind == "list" else [item])
    return tuple(items)


def _list(text: str) -> Shape | None:
    if not _SEPARATOR.search(text):
        return None
    if r"\pm" in text and len(sides := split(text, _EQUALS)) > 1 and not _SEPARATOR.search("".join(sides[:-1])):
        work = tuple(side.strip() for side in sides[:-1] if r"\pm" in side)
        return Claim(work, shape(sides[-1]), text) if work else None  # x = \frac{5 \pm 1}{2} = 2, 3
    parts = [part for part in split(text, _SEPARATOR) if part.strip()]
    known = [part for part in parts if not is_in_reals(part)] or parts
    if not 1 < len(parts) <= MAX_ITEMS:
        return None
    if len(known) == 1:
        return shape(known[0])  # x > 2, x \in \mathbb{R}
    items = _items(known)
    if alternatives := _alternatives(text, items):
        return alternatives
    if len(split(text, _AND)) == 2 == len(items) and len({_letters(part) for part in known}) == 1:
        both = intersection(items, text)
        if both is not None:
            return both
    if any(isinstance(item, Text) and len(item.text.split()) > 3 for item in items):
        return None  # a sentence with commas
    return Group("list", items, text)


def _letters(text: str) -> frozenset[str]:
    return frozenset(re.findall("[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", text)))


def _alternatives(text: str, items: tuple[Shape, ...]) -> Shape | None:
    """x = 1, y = 2 or x = 3, y = 4 is a list of points; x = 1 or y = 2 is not."""
    names = [item.name for item in items if isinstance(item, Equation) and item.name]
    parts = [part for part in split(text, _STRONG_SEPARATOR) if part.strip()]
    if len(names) < len(items) or len(set(names)) < 2 or len(parts) < 2:
        return None
    if len(parts) == len(items):
        return None if ";" in text else Text(text, words=True)
    points = _items(parts)
    return Group("list", points, text) if len(points) == len(parts) else None


def _braced(text: str) -> Shape | None:
    if text[0:1] not in ("(", "[", "{", "\\"):
        return None
    inside = list(tops(text))
    if len(inside) < 3 or inside[-1][1] != 0 or any(depth == 0 for _, depth in inside[1:-1]):
        return None
    first, inner, last = text[: inside[1][0]].strip(), text[inside[1][0] : inside[-1][0]], text[inside[-1][0] :].strip()
    parts = split(inner, _COMMA)
    if len(parts) > MAX_ITEMS:
        return None
    if (first, last) == (r"\{", r"\}") or ((first, last) == ("{", "}") and len(parts) > 1):
        by_name = len(parts) > 1 and all(re.match(rf"{NAME}:", part) for part in parts)
        if re.search(r"\\mid|[|:]", inner) and not by_name:
            return None
        items = _items(parts)
        listed = Group("list", items, text)
        return listed if named_values(listed) else Group("set", items, text)
    if len(parts) == 1 and first + last in ("()", "[]"):
        if not re.search(r",|\\begin|\\\{", inner) or inner.startswith(first * 2):
            return None  # brackets of an expression, possibly many
        found = _matrix(inner.strip()) or (_braced(inner.strip()) if first == "(" else None)
        return found if isinstance(found, Group) else None
    if first not in _OPENING or last not in _CLOSING or len(parts) < 2:
        return None
    items = tuple(shape(part) for part in parts)
    if named_values(listed := Group("list", items, text)):
        return listed  # (y = 4, x = 3)
    if first + last == "[]" and all(isinstance(item, Group) and item.fences == "[]" for item in items):
        rows = tuple(Group("fence", item.items, "", "||") for item in items if isinstance(item, Group))
        return Group("matrix", rows, text) if len({len(row.items) for row in rows}) == 1 else None
    return Group("fence", items, text, _OPENING[first] + _CLOSING[last])


def _matrix(text: str) -> Shape | None:
    if r"\begin" not in text:
        return None
    if system := _system(text):
        return system
    found = _MATRIX.fullmatch(text)
    rows = [row for row in _ROW.split(found["rows"]) if row.strip()] if found else []
    if not found or not 0 < len(rows) <= MAX_ITEMS or any("\\begin" in row for row in rows):
        return None
    cells = [tuple(shape(cell) for cell in row.split("&")) for row in rows]
    factor: Node | None = None
    if before := found["factor"].strip():
        quantity = read_quantity(before.removesuffix("*").strip())
        if quantity is None:
            return None
        factor = quantity.node
        cells = [_times(quantity, row) for row in cells]
    return Group("matrix", tuple(Group("fence", row, "", "||") for row in cells), text, factor=factor)


def _times(factor: Quantity, row: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """The entries multiplied; () if one of them is not a quantity."""
    cells = [cell for cell in row if isinstance(cell, Quantity)]
    products = tuple(Quantity(("*", factor.node, cell.node), f"({factor.text})({cell.text})") for cell in cells)
    return products if len(products) == len(row) else ()


def _system(text: str) -> Shape | None:
    """x = 3 and y = 4 joined by a brace, as a list of equations."""
    found = _SYSTEM.fullmatch(text)
    rows = [row.replace("&", " ").strip().rstrip(",.;") for row in _ROW.split(found[2])] if found else []
    rows = [row for row in rows if row]
    return _list(", ".join(rows)) if 1 < len(rows) <= MAX_ITEMS and all(row.count("=") == 1 for row in rows) else None


def _union(text: str) -> Shape | None:
    if r"\cup" not in text or len(split(text, _EQUALS)) > 1:
        return None
    parts = split(text, _CUP)
    return Group("union", tuple(shape(part) for part in parts), text) if 1 < len(parts) <= MAX_ITEMS else None


def _plus_minus(text: str) -> Shape | None:
    if text.count(r"\pm") != 1:
        return None
    plus, minus = (read_quantity(text.replace(r"\pm", sign).strip()) for sign in "+-")
    return Group("list", (plus, minus), text) if plus and minus else None


def _ratio(text: str) -> Shape | None:
    if ":" not in text:
        return None
    parts = split(text, _COLON)
    if len(parts) == 2 and re.fullmatch(NAME, parts[0]) and re.search(r"\d", parts[1]):
        return read_equation("=".join(parts), shape)  # x: 3
    items = [read_quantity(part.strip()) for part in parts] if 1 < len(parts) <= 4 else []
    known = tuple(item for item in items if item is not None)
    return Group("ratio", known, text) if known and len(known) == len(parts) else None


_READERS: tuple[Callable[[str], Shape | None], ...] = (
    *(_derived, _matrix, _list, _braced, _union, partial(read_set, shape=shape), partial(read_equation, shape=shape)),
    *(_plus_minus, _ratio, read_quantity),
)
