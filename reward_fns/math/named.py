r"""Named values: "x = 3, y = 4" and "(x, y) = (3, 4)" say which value belongs to which name, and so the order.
Example: "y = 4, x = 3" is the point (3, 4); "y = 3, x = 4" is not."""

from __future__ import annotations

import re
from itertools import pairwise

from reward_fns.math.forms import Equation, Group, Shape

# Coordinates that are not in alphabetical order.
_CUSTOMARY = ((r"r", r"\theta", r"z"), (r"\rho", r"\theta", r"\phi"), (r"\rho", r"\theta", r"\varphi"))
# Letters this close in the alphabet are in alphabetical order: (h, k), (m, n), (x, y, z); (m, b) has no order.
_NEAR = 3


def named_values(shape: Shape) -> dict[str, Shape] | None:
    """The values by name, in the order of the names, of a list whose items have two or more different names."""
    if not isinstance(shape, Group) or shape.kind != "list" or len(shape.items) < 2:
        return None
    values: dict[str, Shape] = {}
    for item in shape.items:
        if not isinstance(item, Equation) or not item.name or len(item.sides) != 2 or item.name in values:
            return None
        values[item.name] = item.sides[1]
    return {name: values[name] for name in in_order(list(values))}


def in_order(names: list[str]) -> list[str]:
    """The names in their usual order; letters far apart keep the order given."""
    for customary in _CUSTOMARY:
        if set(names) <= set(customary):
            return sorted(names, key=customary.index)
    parts = [re.fullmatch(r"([A-Za-z])(?:_\{?(\d+)\}?)?", name) for name in names]
    known = [(part[1], int(part[2] or 0)) for part in parts if part]
    letters = sorted(ord(letter) for letter, _ in known)
    if len(known) < len(names) or any(b - a > _NEAR for a, b in pairwise(letters)):
        return names
    return [name for _, name in sorted(zip(known, names, strict=True))]
