r"""Equality of two formulas by math-verify, for what our own grammar does not cover: integrals, sums, derivatives.
Example: \int x\,dx and \frac{x^2}{2}. The library's own time limits are off: the caller's process has one."""

from __future__ import annotations

import logging
import re
from fractions import Fraction

from math_verify import LatexExtractionConfig, parse, verify
from sympy import MatrixBase, Pow  # type: ignore[import-untyped]

_DECIMAL = re.compile(r"(?<![\d.])\d*\.\d+(?![\d.])")

# math-verify warns once per process that its time limits are off, which is intended.
logging.getLogger("math_verify").setLevel(logging.ERROR)


def same(a: str, g: str) -> bool | None:
    """Whether math-verify finds the formula `a` equal to the gold `g`; None if it cannot read one of them."""
    gold, answer = _parsed(g), _parsed(a)
    if not gold or not answer:
        return None
    # float_rounding: decimals have become fractions, so there is nothing to round
    return bool(verify(gold, answer, float_rounding=15, timeout_seconds=None))


def _parsed(text: str) -> list[object]:
    # As fractions, decimals are compared exactly.
    exact = _DECIMAL.sub(lambda m: "(\\frac{{{}}}{{{}}})".format(*Fraction(m[0]).as_integer_ratio()), text)
    exact = exact.replace(r"\deg", r"^{\circ}")
    parsed: list[object] = parse(
        f"${exact}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None
    )
    # sympy does not evaluate a power of a matrix.
    return [
        item.base**item.exp if isinstance(item, Pow) and isinstance(item.base, MatrixBase) else item for item in parsed
    ]
