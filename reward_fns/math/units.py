r"""Units of measure in one spelling: "square feet", "sq. ft" and "\text{ft}^2" are ft^2, "km per hour" is km/h.
Units are recognised so that they can be ignored, and so that 5 cm is not 5 m; nothing is converted."""

from __future__ import annotations

import re

RADIAN = "radian"
CURRENCIES = {"usd": "dollar", "gbp": "sterling", "eur": "euro", "jpy": "yen", "inr": "rupee"}
"""Units of money by the commands that text.py writes for their signs."""

MONEY = "|".join(CURRENCIES)
"""The commands, as a pattern."""

_NAMES = {
    **dict.fromkeys(("centimeter", "centimetre"), "cm"),
    **dict.fromkeys(("meter", "metre"), "m"),
    **dict.fromkeys(("kilometer", "kilometre"), "km"),
    **dict.fromkeys(("millimeter", "millimetre"), "mm"),
    **dict.fromkeys(("inch", "inche"), "in"),
    **dict.fromkeys(("feet", "foot"), "ft"),
    **dict.fromkeys(("liter", "litre"), "l"),
    **dict.fromkeys(("milliliter", "millilitre"), "ml"),
    **dict.fromkeys(("hour", "hr"), "h"),
    **dict.fromkeys(("second", "sec"), "s"),
    **dict.fromkeys(("gram", "gm"), "g"),
    **dict.fromkeys(("kilogram",), "kg"),
    **dict.fromkeys(("pound",), "lb"),
    "mile": "mi",
    "minute": "min",
    "sq": "square",
    "cu": "cubic",
    "unit": "",
    **CURRENCIES,
    "rad": RADIAN,
    "mps": "m/s",
    "mph": "mi/h",
    "kph": "km/h",
    "kmh": "km/h",
    "kmph": "km/h",
}
# fmt: off
_MEASURES = frozenset((
    "cm", "m", "km", "mm", "in", "ft", "mi", "yard", "yd", "min", "h", "s", "day", "week", "year", "g", "kg", "mg",
    "lb", "oz", "l", "ml", "dollar", "cent", "degc", "degf", "n", "j", "w", "v", "pa", "hz", "mol",
    "sterling", "euro", "yen", "rupee", RADIAN, "kn", "kj", "kw", "kpa", "khz", "mhz", "ghz",
))
# fmt: on
_IN_CAPITALS = frozenset(("n", "j", "w", "v", "pa", "hz", "degc", "degf"))
_SHORT = (_MEASURES - _IN_CAPITALS) | (_NAMES.keys() - _IN_CAPITALS)
_SHORT |= {"rpm", "Hz", "J", "N", "W", "V", "L", "K", "mL", "Pa", "kN", "kJ", "kW", "kPa", "kHz", "MHz", "GHz"}
_POWER = re.compile(r"\^\{?(-?\d)\}?")
_WORD = re.compile(r"[^\W\d_]+\.?(?:\^\{?-?\d\}?)?|/|\S")


def unit_words(tail: str) -> list[str]:
    r"""The words of a unit as written after a number: "\text{ m}/\text{s}^2" -> ["m", "/", "s^2"]."""
    plain = re.sub(r"\\text\s*\{([^{}]*)\}", r" \1 ", tail).replace("*", " ")
    plain = re.sub(r"\s*\^\s*\{?\s*(-?\d)\s*\}?", r"^\1", plain)
    return _WORD.findall(plain)


def is_short(words: list[str]) -> bool:
    """Whether all words are common unit symbols, so that "5 m" may be five metres."""
    names = [_POWER.sub("", word).rstrip(".") for word in words if word not in ("/", "per")]
    return bool(names) and all(name in _SHORT or name.removesuffix("s") in _SHORT for name in names)


def unit_of(words: list[str]) -> str:
    """The unit in its normal spelling."""
    parts: list[str] = []
    power, below = "", False
    for word in words:
        found = _POWER.search(word)
        name = _POWER.sub("", word).lower().rstrip(".,")
        if name in ("/", "per"):
            below = True
            continue
        single = name[:-1] if name.endswith("s") and len(name) > 2 else name
        name = _NAMES.get(single, single)
        if name in ("square", "cubic"):
            power = "^2" if name == "square" else "^3"
            continue
        if name in ("squared", "cubed") and parts:
            parts[-1] += "^2" if name == "squared" else "^3"
            continue
        exponent = found[1] if found else ""
        if exponent.startswith("-"):
            below, exponent = True, exponent[1:].replace("1", "")
        if name or power or exponent:
            parts.append(("/" if below else "") + name + (f"^{exponent}" if exponent else power))
        power, below = "", False
    if power:
        parts.append(power)
    return " ".join(parts).replace(" /", "/")


def measures_differ(a: str, b: str) -> bool:
    """Whether two units differ, like cm and m, or cm and cm^2; unknown words ("apples") never do."""
    return a != b and _is_measure(a) and _is_measure(b)


def _is_measure(unit: str) -> bool:
    names = re.findall("[a-z]+", unit)
    return unit.startswith("mod ") or (bool(names) and all(name in _MEASURES for name in names))
