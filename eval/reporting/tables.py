"""The results table, as Markdown and as CSV, and the table of where the time goes.
Cells for what was not recorded are empty."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from eval.intervals import Interval, over_both, over_problems, spread
from eval.published import Published
from eval.reporting.cells import Table, of_columns
from eval.reporting.curves import final
from eval.reporting.groups import Group, Panel
from eval.reporting.read_runs import Run, verdicts

BESIDE = ("greedy", "pass@2", "pass@4", "pass@8", "pass@16", "forgetting")
"""What a table shows besides the accuracy, by metric name after val/: the accuracy of greedy answers if the others are
sampled, pass@k, and by how many nats per token the base's own texts became less likely."""

PHASES = ("gen", "old_log_prob", "ref", "adv", "update_actor", "update_weights", "step")


@dataclass(frozen=True)
class Row:
    """One group in the results table. Accuracies are one per run, as shares."""

    panel: str
    label: str
    seeds: int
    before: tuple[float, ...]
    last: tuple[float, ...]
    beside: Mapping[str, tuple[float, ...]]
    """Metrics of the last validation, if recorded: see `BESIDE`."""
    interval: Interval | None
    df: int
    """Degrees of freedom over seeds; 0 with one seed."""
    seconds: tuple[float, ...]
    peak_bytes: tuple[float, ...]
    published: tuple[Published, ...]
    notes: tuple[str, ...]


def result_rows(panels: Sequence[Panel]) -> list[Row]:
    """A row per group; groups without any validation yet have a row that says so."""
    return [_row(panel, group) for panel in panels for group in panel.groups]


def _row(panel: Panel, group: Group) -> Row:
    accuracies = [values for run in group.runs if (values := run.points("val/acc")[1])]
    before = [value for run in group.runs if (value := run.base_accuracy) is not None]
    interval, df, why_not = _interval(group)
    return Row(
        panel=panel.title,
        label=group.label,
        seeds=group.seeds,
        before=tuple(before),
        last=tuple(values[-1] for values in accuracies),
        beside={
            name: tuple(values[-1] for run in group.runs if (values := run.points(f"val/{name}")[1])) for name in BESIDE
        },
        interval=interval,
        df=df,
        seconds=_summaries(group.runs, "seconds"),
        peak_bytes=_summaries(group.runs, "peak_memory_bytes"),
        published=tuple(final(group.runs[0])),
        notes=(*_notes(group), *([why_not] if why_not and accuracies else [])),
    )


def _interval(group: Group) -> tuple[Interval | None, int, str]:
    """The 95 % interval over seeds (Student's t) and problems, with one seed over problems only, and the degrees of
    freedom; or why there is none."""
    answers = [verdicts(run) for run in group.runs]
    if not all(answers):
        return None, 0, "no interval: the last answers were not kept"
    problems = answers[0].keys()
    if any(each.keys() != problems for each in answers):
        return None, 0, "no interval: the seeds were tested on different problems"
    by_seed: dict[int | None, list[float]] = {}
    for run, each in zip(group.runs, answers, strict=True):
        by_seed.setdefault(run.seed, []).append(statistics.fmean(each.values()))
    seeds = spread([statistics.fmean(each) for each in by_seed.values()])
    found = over_both(
        seeds, over_problems([statistics.fmean(each[problem] for each in answers) for problem in problems])
    )
    clipped = Interval(found.mean, max(0.0, found.low), min(1.0, found.high))
    return clipped, seeds.df if seeds else 0, ""


def _summaries(runs: Sequence[Run], key: str) -> tuple[float, ...]:
    return tuple(float(run.summary[key]) for run in runs if run.summary.get(key) is not None)


def _notes(group: Group) -> list[str]:
    """What a reader must know before believing a row."""
    notes = ["1 seed"] if group.seeds == 1 else []
    if len(group.runs) > group.seeds:
        notes.append(f"{len(group.runs)} runs, some with the same seed")
    for run in group.runs:
        if not run.finished:
            of = f" of {run.total_steps}" if run.total_steps else ""
            who = f"seed {run.seed} " if len(group.runs) > 1 else ""
            notes.append(f"{who}unfinished at step {run.last_step}{of}")
    tested = {run.points("val/acc")[0][-1] for run in group.runs if run.points("val/acc")[0]}
    if len(tested) > 1:
        notes.append(f"last validations at different steps ({', '.join(map(str, sorted(tested)))})")
    if not tested:
        notes.append("not validated yet")
    return notes


def results_table(rows: Sequence[Row]) -> Table:
    """The results to read: mean and range over seeds; empty columns are skipped."""
    columns: dict[str, Callable[[Row], str]] = {
        "algorithm": lambda row: row.label,
        "last": lambda row: _cell(row.last),
        "before": lambda row: _cell(row.before),
        "seeds": lambda row: str(row.seeds),
        "95 %": lambda row: f"{row.interval.low:.1%} to {row.interval.high:.1%}" if row.interval else "",
        "df": lambda row: str(row.df) if row.df else "",
        **{name: partial(_beside, name) for name in _shown_beside(rows)},
        "published": lambda row: "; ".join(f"{entry.share:.1%}{_error(entry)}" for entry in row.published),
        "minutes": lambda row: f"{statistics.fmean(row.seconds) / 60:.1f}" if row.seconds else "",
        "peak memory": lambda row: f"{max(row.peak_bytes) / 2**30:.1f} GiB" if row.peak_bytes else "",
        "notes": lambda row: "; ".join(row.notes),
    }
    if len({row.panel for row in rows}) > 1:
        columns = {"task": lambda row: row.panel} | columns
    return of_columns({name: [show(row) for row in rows] for name, show in columns.items()})


def _shown_beside(rows: Sequence[Row]) -> list[str]:
    """The columns of BESIDE, but of pass@k only the largest k recorded."""
    passes = [name for name in BESIDE if name.startswith("pass@") and any(row.beside[name] for row in rows)]
    return [name for name in BESIDE if name not in passes[:-1]]


def _beside(name: str, row: Row) -> str:
    values = row.beside[name]
    if name != "forgetting" or not values:
        return _cell(values)
    mean = f"{statistics.fmean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.3f} to {max(values):.3f})"


def comma_separated(rows: Sequence[Row]) -> str:
    """The results for programs: shares, seconds and bytes, always with all columns."""
    head = [
        *("task", "algorithm", "seeds", "before_mean"),
        *("last_mean", "last_lowest", "last_highest", "last_deviation", "last_low_95", "last_high_95", "df"),
        *(f"{name}_mean" for name in BESIDE),
        *("seconds_mean", "peak_memory_bytes", "published", "published_source", "notes"),
    ]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    for row in rows:
        writer.writerow(
            [
                *(row.panel, row.label, row.seeds, _mean(row.before)),
                *(_mean(row.last), min(row.last, default=""), max(row.last, default="")),
                statistics.stdev(row.last) if len(row.last) > 1 else "",
                *((row.interval.low, row.interval.high) if row.interval else ("", "")),
                row.df or "",
                *(_mean(row.beside[name]) for name in BESIDE),
                *(_mean(row.seconds), max(row.peak_bytes, default="")),
                "; ".join(f"{entry.share:.4f}" for entry in row.published),
                "; ".join(entry.source for entry in row.published),
                "; ".join(row.notes),
            ]
        )
    return out.getvalue()


def timing_table(panels: Sequence[Panel]) -> Table:
    """Median seconds per reinforcement step by phase, tokens per second of a step, start-up, peak memory."""
    head = ["algorithm", *PHASES, "tokens/s", "validation", "start to end of step 1", "peak memory"]
    rows = []
    for panel in panels:
        for group in panel.groups:
            for run in group.runs:
                # The first two steps warm up.
                steps = [data for step, data in run.metrics.items() if step > 2 and "timing_s/step" in data]
                if not steps:
                    continue
                label = [panel.title] if len(panels) > 1 else []
                label += [group.label, *([f"seed {run.seed}"] if len(group.runs) > 1 else [])]
                rows.append((", ".join(label), *_timing_cells(run, steps)))
    return Table(tuple(head), tuple(rows))


def _timing_cells(run: Run, steps: Sequence[Mapping[str, float]]) -> list[str]:
    cells = [_median([data[key] for data in steps if key in data]) for key in (f"timing_s/{phase}" for phase in PHASES)]
    rates = [data["perf/total_num_tokens"] / data["timing_s/step"] for data in steps if "perf/total_num_tokens" in data]
    tests = [data["timing_s/validation"] for data in run.metrics.values() if "timing_s/validation" in data]
    start, peak = run.start_to_first_step, run.summary.get("peak_memory_bytes")
    cells += [_median(rates, ".0f"), f"{_median(tests, '.1f')} s" if tests else ""]
    return [*cells, "" if start is None else f"{start:.0f} s", f"{peak / 2**30:.1f} GiB" if peak else ""]


def _median(values: Sequence[float], form: str = ".2f") -> str:
    return format(statistics.median(values), form) if values else ""


def _mean(values: Sequence[float]) -> float | str:
    return statistics.fmean(values) if values else ""


def _error(entry: Published) -> str:
    return f" ±{entry.share_error:.1%}" if entry.plus_minus else ""


def _cell(values: Sequence[float]) -> str:
    if not values:
        return ""
    mean, low, high = (f"{value:.1%}" for value in (statistics.fmean(values), min(values), max(values)))
    return mean if low == high else f"{mean} ({low} to {high})"
