"""What `python -m data_prep validate` says of a file of answers: how it is understood, and what each algorithm gets.
Example: "gives 8 pairs (dpo), 16 labelled answers (kto), 4 instructions (sft)"."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from functools import partial

from data_prep.faults import CustomDataError, count, named, quantiles, shorten, unsplit
from data_prep.files.columns import Columns
from data_prep.preference.local import Examined, examine, split_files, write_examined
from data_prep.preference.schema import Row
from data_prep.preference.split import Written
from data_prep.preference.views import NO_CONTRAST, binary, instructions, pairs


def validate(options: argparse.Namespace, columns: Columns) -> None:
    """Checks the file (and the test file), prints a summary, writes the two parquet files with --out.

    CustomDataError lists all that is wrong.
    """
    files = [path for path in (options.file, options.test) if path is not None]
    parts = [examine(path, options.score_min, options.score_max, columns) for path in files]
    complaints = [part.complaint() for part in parts if part.problems]
    if complaints:
        raise CustomDataError("\n".join(complaints))
    test = parts[1] if len(parts) > 1 else None
    split = partial(split_files, parts[0], test, options.seed, options.test_share)
    print("\n\n".join([*(summary(part) for part in parts), *unsplit(split, test is not None)]))
    print("\n" + example(parts[0].rows))
    if options.out is not None:
        print("\n" + written(write_examined(parts[0], test, options.out, options.seed, options.test_share), parts[0]))


def summary(examined: Examined) -> str:
    """How a file without problems is understood: columns, rows, what each algorithm gets, lengths, oddities."""
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
    """The first row as the model meets it, with all answers to compare."""
    first = rows[0]
    lines = ["The first row's prompt:"]
    lines += [f"  {turn['role']}: {shorten(repr(turn['content']), 200)}" for turn in first["prompt"]]
    for row in rows[:50]:
        if row["group"] == first["group"]:
            worth = "instruction" if row["feedback"] == "instruction" else f"{row['feedback']} {row['score']:.3g}"
            lines.append(f"its answer ({worth}): {shorten(repr(row['completion']), 200)}")
    return "\n".join(lines)


def written(data: Written, examined: Examined) -> str:
    """Where the two files are, and how to train on them."""
    kinds = {row["feedback"] for row in examined.rows}
    algorithm = {"pairwise": "dpo", "binary": "kto", "score": "una"}
    algorithms = [algorithm[kind] for kind in algorithm if kind in kinds] or ["sft"]
    return (
        f"{data.train}: {count(data.n_train, 'row')}\n{data.test}: {count(data.n_test, 'row')}\n"
        f"train on them with --algo {algorithms[0]} --data {data.train.parent}"
    )
