"""Values of expression trees (expression.py): exact fractions if rational, else real or complex with 50 digits.
Two expressions with variables are the same function if they agree at fixed points; all sizes are bounded."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from mpmath.ctx_mp import MPContext  # type: ignore[import-untyped]

from reward_fns.math.expression import Node, Unreadable, nodes

# A Fraction, or a real or complex number of mpmath.
Value = Any

_DIGITS = 50
_CLOSE = Fraction(1, 10**38)
_MOST_EXACT_BITS = 20_000
_MOST_EXPONENT = 1_000_000
_MOST_ARGUMENT = 1_000_000
_MOST_FACTORIAL = 2_000
_MOST_MODULUS = 10**12
# Letters that usually stand for integers are evaluated at integers only.
_WHOLE = frozenset("nmkNMKj")
_MPMATH_NAMES = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "lg": "log10", "log": "log10"}


def variables(node: Node) -> frozenset[str]:
    """The names of the variables in the tree."""
    return frozenset(part[1] for part in nodes(node) if part[0] == "var")


class _PerThread(threading.local):
    # mpmath changes its precision temporarily inside functions, so threads must not share a context.
    def __init__(self) -> None:
        self.context = MPContext()
        self.context.dps = _DIGITS


_local = _PerThread()


def evaluate(node: Node, at: Mapping[str, Fraction]) -> Value:
    """The value at the given point; Unreadable if undefined, out of bounds, or a variable has no value there."""
    try:
        value = _value(node, at, _local.context)
    except (ZeroDivisionError, ValueError, OverflowError, TypeError, KeyError) as error:
        raise Unreadable from error
    if not isinstance(value, Fraction) and _local.context.isnan(value):
        raise Unreadable
    return value


def _value(node: Node, at: Mapping[str, Fraction], mp: Any) -> Value:
    kind = node[0]
    if kind == "num":
        return node[1]
    if kind == "var":
        return at[node[1]]
    if kind == "const":
        return {"pi": +mp.pi, "e": +mp.e, "i": mp.mpc(0, 1), "infty": mp.inf}[node[1]]
    if kind == "call":
        return _call(node[1], _value(node[2], at, mp), mp)
    if kind == "mod":
        return Fraction(_remainder(node[1], _modulus(_value(node[2], at, mp)), at, mp))
    a = _value(node[1], at, mp)
    if kind == "neg":
        return -a
    b = _value(node[2], at, mp)
    if kind == "^":
        return _power(a, b, mp)
    if kind == "root":
        return _root(b, a, mp)
    if kind == "log":
        return _call("ln", b, mp) / _call("ln", a, mp)
    if kind == "binom":
        below = _arithmetic("*", _call("factorial", b, mp), _call("factorial", _arithmetic("-", a, b, mp), mp), mp)
        return _arithmetic("/", _call("factorial", a, mp), below, mp)
    return _arithmetic(kind, a, b, mp)


def _arithmetic(sign: str, a: Value, b: Value, mp: Any) -> Value:
    if not isinstance(a, Fraction) or not isinstance(b, Fraction):
        a, b = _inexact(a, mp), _inexact(b, mp)
    elif _bits(a) + _bits(b) > 2 * _MOST_EXACT_BITS:
        raise Unreadable
    if sign == "+":
        return a + b
    if sign == "-":
        return a - b
    return a * b if sign == "*" else a / b


def _modulus(value: Value) -> int:
    if not isinstance(value, Fraction) or value.denominator != 1 or not 0 < value < _MOST_MODULUS:
        raise Unreadable
    return int(value)


def _remainder(node: Node, m: int, at: Mapping[str, Fraction], mp: Any) -> int:
    """The remainder modulo m, without computing the number itself: 7^{7^7} has hundreds of thousands of digits."""
    if node[0] == "neg":
        return -_remainder(node[1], m, at, mp) % m
    if node[0] in ("+", "-", "*"):
        a, b = _remainder(node[1], m, at, mp), _remainder(node[2], m, at, mp)
        return (a + b if node[0] == "+" else a - b if node[0] == "-" else a * b) % m
    if node[0] == "^":
        exponent = _value(node[2], at, mp)
        if isinstance(exponent, Fraction) and exponent.denominator == 1 and exponent >= 0:
            return pow(_remainder(node[1], m, at, mp), int(exponent), m)
    value = _value(node, at, mp)
    if not isinstance(value, Fraction) or value.denominator != 1:
        raise Unreadable
    return int(value) % m


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _inexact(value: Value, mp: Any) -> Value:
    return mp.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else value


def _power(a: Value, b: Value, mp: Any) -> Value:
    if not abs(b) <= _MOST_EXPONENT:
        raise Unreadable
    if isinstance(b, Fraction) and b.denominator == 1 and isinstance(a, Fraction):
        if _bits(a) * abs(b.numerator) <= _MOST_EXACT_BITS:
            return a**b.numerator
    elif isinstance(b, Fraction) and b.numerator == 1 and b.denominator > 1:
        return _root(a, Fraction(b.denominator), mp)
    return mp.power(_inexact(a, mp), _inexact(b, mp))


def _root(a: Value, index: Value, mp: Any) -> Value:
    radicand = _inexact(a, mp)
    if not isinstance(index, Fraction) or index.denominator != 1 or not 2 <= index <= 1000:
        return mp.power(radicand, 1 / _inexact(index, mp))
    if index % 2 and mp.im(radicand) == 0 and mp.re(radicand) < 0:
        return -mp.root(-radicand, int(index))  # the real root, as in school mathematics
    return mp.root(radicand, int(index))


def _call(name: str, a: Value, mp: Any) -> Value:
    if name == "abs":
        return abs(a)
    if not abs(a) <= _MOST_ARGUMENT and name not in ("ln", "log", "lg", "sqrt"):
        raise Unreadable
    if name in ("floor", "ceil"):
        return Fraction(int(getattr(mp, name)(_inexact(a, mp))))
    if name == "factorial":
        if abs(a) > _MOST_FACTORIAL:
            raise Unreadable
        if isinstance(a, Fraction) and a.denominator == 1 and a >= 0:
            return Fraction(math.factorial(int(a)))
        return mp.gamma(_inexact(a, mp) + 1)
    if name == "deg":
        return _inexact(a, mp) * mp.pi / 180
    return getattr(mp, _MPMATH_NAMES.get(name, name))(_inexact(a, mp))


def same_value(a: Value, b: Value) -> bool:
    """Whether two values are the same number: exactly if both are rational, otherwise to 38 digits."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a == b
    mp = _local.context
    x, y = _inexact(a, mp), _inexact(b, mp)
    if mp.isinf(x) or mp.isinf(y):
        return bool(x == y)
    size = max(abs(x), abs(y)) if a != 0 and b != 0 else mp.mpf(1)
    return bool(abs(x - y) <= size * _inexact(_CLOSE, mp))


def same_function(a: Node, b: Node, proportional: bool = False) -> bool | None:
    """Whether two expressions agree everywhere (tested at fixed points); None if they have values at too few of them.

    A constant without a value (1/0, or out of bounds) is equal to nothing.

    proportional: equal up to a constant nonzero factor, like the left sides of x - 1 = 0 and 2x - 2 = 0.
    """
    names = variables(a) | variables(b)
    compared = 0
    factor: Value = None
    for at in _points(names, 9 if names else 1):
        try:
            x, y = evaluate(a, at), evaluate(b, at)
        except Unreadable:
            continue
        if any(value < 0 for value in at.values()) and not (_is_real(x) and _is_real(y)):
            continue  # outside the domain that a logarithm or root of a variable implies
        if proportional:
            if same_value(x, Fraction(0)) or same_value(y, Fraction(0)):
                if not same_value(x, y):
                    return False
                continue
            ratio = _arithmetic("/", x, y, _local.context)
            factor = ratio if factor is None else factor
            x, y = ratio, factor
        if not same_value(x, y):
            return False
        compared += 1
    if compared >= 3 or not names:
        return compared > 0
    # An expression with letters that never equals the constant b does not denote it.
    return None if _has_value(a) and variables(b) else False


def _has_value(node: Node) -> bool:
    try:
        return bool(variables(node)) or evaluate(node, {}) is not None
    except Unreadable:
        return False


def _points(names: frozenset[str], number: int) -> Iterator[dict[str, Fraction]]:
    """`number` points, always the same; every third has negative coordinates."""
    for k in range(number):
        point = {}
        for name in names:
            draw = random.Random(f"{name} {k}").random()
            if name in _WHOLE:
                point[name] = Fraction(2 + k + int(draw * 9))
            else:
                size = Fraction(1 + int(draw * 9973), 1999)
                point[name] = -size if k % 3 == 2 else size
        yield point


def _is_real(value: Value) -> bool:
    return isinstance(value, Fraction) or bool(_local.context.im(value) == 0)


def rounds_to(value: Value, rounded: Value, decimals: int) -> bool:
    """Whether `rounded` is `value` to that many decimals, and `value` has infinitely many (1/3 or pi, not 0.333).

    False for equal values, which are left to same_value.
    """
    if not _is_real(value) or not isinstance(rounded, Fraction):
        return False
    if isinstance(value, Fraction) and (10**_DIGITS) % value.denominator == 0:
        return False
    if same_value(value, rounded):
        return False
    mp = _local.context
    return bool(abs(_inexact(value, mp) - _inexact(rounded, mp)) <= mp.mpf(10) ** -decimals / 2)
