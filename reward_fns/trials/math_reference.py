"""Measures the mathematics reward on the UFT repository's published rows: their answers, rewritten, and of other rows.

python -m reward_fns.trials.math_reference ../shared/reference_data/math/test.parquet [more.parquet ...]
"""

from __future__ import annotations

import argparse
import logging
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from reward_fns.answer_tags import answer_texts
from reward_fns.math.equal import equivalent, quick
from reward_fns.math.reward import score

# Ways of writing an answer that change nothing about it.
REWRITES: dict[str, Callable[[str], str]] = {
    "in dollars": lambda text: f"${text}$",
    "in a box": lambda text: rf"\boxed{{{text}}}",
    "in a sentence": lambda text: f"The answer is ${text}$.",
    "\\dfrac": lambda text: text.replace(r"\frac", r"\dfrac").replace(r"\ddfrac", r"\dfrac"),
    "a/b for \\frac": lambda text: re.sub(r"(?<!\d)(?<!\d )\\d?frac\{(\d+)\}\{(\d+)\}(?!\d)", r"(\1/\2)", text),
    "sizes of brackets": lambda text: re.sub(r"\\(?:left|right)(?=[()\[\]])", "", text),
    "wide spaces": lambda text: re.sub(r"(?<=[+=]) ?", r"\\; ", text),
    "without \\text": lambda text: re.sub(r"\\text\s*\{([^{}]*)\}", r" \1", text),
    "bmatrix": lambda text: text.replace("pmatrix", "bmatrix"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the measurements."""
    parser = argparse.ArgumentParser(prog="python -m reward_fns.trials.math_reference", description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", help="parquet files with answer and reward_model columns")
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    for path in parser.parse_args(arguments).files:
        rows = pq.read_table(path, columns=["answer", "data_source", "reward_model"]).to_pylist()
        rows = [row for row in rows if row["data_source"] != "countdown"]
        print(f"\n{path.parent.name}/{path.name}: {len(rows)} rows")
        for line in measured(rows):
            print(line)
    return 0


def measured(rows: list[dict[str, Any]]) -> list[str]:
    """The report's lines on rows {answer, reward_model}."""
    golds = [row["reward_model"]["ground_truth"]["target"] for row in rows]
    answers = [answer_texts(row["answer"])[0] for row in rows]
    lines = []
    own = [
        (answer, gold)
        for row, answer, gold in zip(rows, answers, golds, strict=True)
        if not score(row["answer"], {"target": gold}).correct
    ]
    lines += [f"own answers scored 1.0: {len(rows) - len(own)} of {len(rows)}", *(f"  not: {pair}" for pair in own)]
    for name, rewrite in REWRITES.items():
        pairs = [(rewrite(answer), gold) for answer, gold in zip(answers, golds, strict=True)]
        missed = [pair for pair in pairs if not equivalent(*pair)["equal"]]
        lines += [f"rewritten, {name}: {len(pairs) - len(missed)} of {len(pairs)}", *(f"  not: {p}" for p in missed)]
    draw = random.Random("foreign golds")
    foreign = []
    for answer, gold in zip(answers, golds, strict=True):
        others: list[str] = []
        while len(others) < 5:
            if (other := golds[int(draw.random() * len(golds))]) != gold:
                others.append(other)
        foreign += [(answer, other) for other in others]
    hits = Counter(pair for pair in foreign if equivalent(*pair)["equal"])
    lines.append(f"answers equal to the gold of another row, written otherwise: {hits.total()} of {len(foreign)}")
    lines += [f"  {count} times: {pair}" for pair, count in hits.items()]
    pairs = [*zip(answers, golds, strict=True), *foreign[::5]]
    open_pairs = sum(quick(*pair) is None for pair in pairs)
    lines.append(f"left to math-verify by quick: {open_pairs} of {len(pairs)}")
    lines += [timing("quick", quick, pairs), timing("equivalent", equivalent, pairs)]
    lines.append(timing("math-verify alone", _plain_math_verify, pairs))
    return lines


def timing(name: str, call: Callable[[str, str], Any], pairs: Sequence[tuple[str, str]]) -> str:
    """Calls per second and latencies of one pass over the pairs, on one core."""
    call(*pairs[0])  # imports do not count
    took = []
    for pair in pairs:
        started = time.perf_counter()
        call(*pair)
        took.append(1000 * (time.perf_counter() - started))
    took.sort()
    p50, p99 = (took[int(share * (len(took) - 1))] for share in (0.5, 0.99))
    rate = 1000 * len(took) / sum(took)
    return f"{name}: {rate:,.0f} a second; p50 {p50:.3f} ms, p99 {p99:.2f} ms, max {took[-1]:.1f} ms"


def _plain_math_verify(answer: str, gold: str) -> bool:
    from math_verify import parse, verify

    parsed = [parse(f"${text}$", parsing_timeout=None) for text in (gold, answer)]
    return bool(verify(*parsed, timeout_seconds=None))


if __name__ == "__main__":
    raise SystemExit(main())
