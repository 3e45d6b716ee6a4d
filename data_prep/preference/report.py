"""The report of `python -m data_prep validate` on preference data: how it is understood, and what each algorithm gets.
Example: "gives 8 pairs (dpo), 16 labelled answers (kto), 4 instructions (sft)"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data_prep.faults import count, named, quantiles, shorten
from data_prep.preference.local import Answers
from data_prep.preference.schema import Row
from data_prep.preference.views import NO_CONTRAST, binary, instructions, pairs


def summary(examined: Answers) -> str:
    """How a file without errors is understood: columns, rows, what each algorithm gets, lengths, oddities."""
    rows = examined.rows
    source = examined.source
    kinds = Counter(row["feedback"] for row in rows)
    turns = [len(row["prompt"]) for row in rows]
    lines = [
        f"{source.path}: {count(len(source.rows), 'row')} ({source.counting})",
        f"  columns   {examined.layout}",
        f"  answers   {len(rows):,}: " + ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common()),
        f"  gives     {', '.join(_uses(rows))}",
    ]
    scores = [row["score"] for row in rows if row["feedback"] == "score"]
    if scores:
        low, high = examined.scale.low, examined.scale.high
        scaled = "as they are" if (low, high) == (0.0, 1.0) else f"{low:g} to {high:g}, put on 0 to 1"
        lines.append(
            f"  scores    {scaled}; {min(scores):.3g} to {max(scores):.3g}, {len(set(scores)):,} different ones"
        )
    lines += [
        f"  turns of the prompt: {quantiles(turns)}",
        f"  characters of the prompt: {quantiles([sum(len(m['content']) for m in row['prompt']) for row in rows])}",
        f"  characters of the answer: {quantiles([len(row['completion']) for row in rows])}",
    ]
    notes = [*source.notes, *(f"rows that {what} ({len(at):,}): {named(at)}" for what, at in examined.noted.items())]
    paired = pairs(rows)
    alone = paired.left_out.get(NO_CONTRAST, 0)
    if paired and alone:
        notes.append(f"{alone:,} answers are in no pair: {NO_CONTRAST}")
    return "\n".join(lines + [f"  note: {note}" for note in notes])


def _uses(rows: Sequence[Row]) -> list[str]:
    counts = {
        "pairs (dpo)": len(pairs(rows)),
        "labelled answers (kto)": len(binary(rows)),
        "scored answers (una)": sum(row["feedback"] in ("score", "binary") for row in rows),
        "instructions (sft)": len(instructions(rows)),
    }
    return [f"{count:,} {use}" for use, count in counts.items() if count]


def example(rows: Sequence[Row]) -> str:
    """The first row as the model sees it, with all answers to compare."""
    first = rows[0]
    lines = ["The first row's prompt:"]
    lines += [f"  {turn['role']}: {shorten(repr(turn['content']), 200)}" for turn in first["prompt"]]
    for row in rows[:50]:
        if row["group"] == first["group"]:
            worth = "instruction" if row["feedback"] == "instruction" else f"{row['feedback']} {row['score']:.3g}"
            lines.append(f"its answer ({worth}): {shorten(repr(row['completion']), 200)}")
    return "\n".join(lines)


def flags(examined: Answers, folder: Path) -> str:
    """The flags to train on the file."""
    kinds = {row["feedback"] for row in examined.rows}
    algorithm = {"pairwise": "dpo", "binary": "kto", "score": "una"}
    algorithms = [algorithm[kind] for kind in algorithm if kind in kinds] or ["sft"]
    return f"--algo {algorithms[0]} --data {folder}"
