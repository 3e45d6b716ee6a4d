"""A profile of countdown rows: shares of sizes, operators, number and target ranges, expression shapes.
Comparing two profiles shows whether generated data resembles the published data."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from data_prep.countdown.generate import row_key
from data_prep.schema import Row

_FINAL = "Therefore, the final equation is "


def profile(rows: Sequence[Row]) -> dict[str, float]:
    """Shares in 0..1 by feature: each row, number, target or step counts once within its group."""
    sizes: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    targets: Counter[str] = Counter()
    shapes: dict[int, Counter[str]] = {}
    operators: dict[int, Counter[str]] = {}
    values: list[int] = []
    with_zero = with_repeat = 0
    for row in rows:
        given, target = row_key(row)
        size = len(given)
        sizes[f"size {size}"] += 1
        numbers.update(f"numbers {_fifth(number)}" for number in given)
        targets[f"targets {_fifth(target)}"] += 1
        with_repeat += len(set(given)) < size
        shape = re.sub(r"[-+*/]", "o", re.sub(r"\d+", "n", row["hint"][-1].removeprefix(_FINAL)))
        shapes.setdefault(size, Counter())[f"shape {shape}"] += 1
        steps = [line.split() for line in row["hint"][:-1]]
        operators.setdefault(size, Counter()).update(f"size {size}: steps with {step[1]}" for step in steps)
        results = [step[-1] for step in steps]
        with_zero += "0" in results
        values += [int(result) for result in results if result.isdigit()]
    table: dict[str, float] = {}
    for group in (
        sizes,
        numbers,
        targets,
        *(group[size] for size in sorted(operators) for group in (operators, shapes)),
    ):
        table |= {name: count / group.total() for name, count in sorted(group.items())}
    table["rows with a repeated number"] = with_repeat / len(rows)
    table["rows with a zero on the way"] = with_zero / len(rows)
    table["steps with a value over 100"] = sum(value > 100 for value in values) / len(values)
    return {f"share: {name}": value for name, value in table.items()}


def _fifth(value: int) -> str:
    low = value // 20 * 20
    return f"{low:02d}-{low + 19}"
