"""Curves and a table from the records of runs, finished or not.

    python -m eval.report out/a out/b ... --out results/countdown_cpu
writes curves.png (accuracy and given part of the solution over steps), table.md and timing.md.
"""

import argparse
import json
import statistics
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import yaml

PHASES = ("gen", "old_log_prob", "ref", "adv", "update_actor", "update_weights", "step")

# One colour an algorithm in every figure; the order is that of tables.
COLOURS = {
    "sft": "#7f7f7f",
    "rft": "#1f77b4",
    "sft_rft": "#17becf",
    "stage": "#9467bd",
    "r3": "#2ca02c",
    "uft": "#d62728",
}


@dataclass(frozen=True)
class Curve:
    """The records of one run."""

    name: str
    algo: str
    seed: int
    metrics: dict[int, dict[str, float]]
    start_to_first_step: float | None
    summary: dict[str, Any]

    def points(self, key: str) -> tuple[list[int], list[float]]:
        """Steps and values of a metric, where it was recorded."""
        found = [(step, data[key]) for step, data in sorted(self.metrics.items()) if key in data]
        return [step for step, _ in found], [value for _, value in found]


def load(folder: Path) -> Curve:
    """Read a run folder. Raises FileNotFoundError when it is not one."""
    experiment = yaml.safe_load((folder / "experiment.yaml").read_text(encoding="utf-8"))
    metrics: dict[int, dict[str, float]] = defaultdict(dict)
    ended: dict[int, float] = {}
    for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        metrics[row["step"]].update(row["data"])
        ended[row["step"]] = row["time"]
    summary, config = folder / "summary.json", folder / "verl.yaml"
    # The configuration is written right before the trainer starts.
    first_step = ended[1] - config.stat().st_mtime if config.exists() and 1 in ended else None
    return Curve(
        name=folder.name,
        algo=experiment["algo"],
        seed=experiment["seed"],
        metrics=dict(metrics),
        start_to_first_step=first_step,
        summary=json.loads(summary.read_text()) if summary.exists() else {},
    )


def by_algorithm(curves: list[Curve]) -> dict[str, list[Curve]]:
    """Runs of each algorithm, in the order of COLOURS."""
    groups: dict[str, list[Curve]] = defaultdict(list)
    for curve in curves:
        groups[curve.algo].append(curve)
    order = [*COLOURS, *sorted(set(groups) - set(COLOURS))]
    return {algo: groups[algo] for algo in order if algo in groups}


def _draw(axes: Any, runs: list[Curve], key: str, colour: str, label: str) -> None:
    """Mean over seeds, a band from the lowest to the highest where there are several."""
    values: dict[int, list[float]] = defaultdict(list)
    for run in runs:
        for step, value in zip(*run.points(key), strict=True):
            values[step].append(value)
    steps = sorted(values)
    if not steps:
        return
    means = [sum(values[step]) / len(values[step]) for step in steps]
    axes.plot(steps, means, color=colour, label=label, linewidth=2)
    if len(runs) > 1:
        low, high = [min(values[step]) for step in steps], [max(values[step]) for step in steps]
        axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)


def draw_curves(curves: list[Curve], file: Path, title: str) -> None:
    """Left: validation accuracy over reinforcement steps, the supervised model as a dashed line. Right: hints."""
    figure, (accuracy, hints) = plt.subplots(1, 2, figsize=(11, 4), width_ratios=[2, 1])
    for algo, runs in by_algorithm(curves).items():
        colour = COLOURS.get(algo, "#333333")
        if algo == "sft":
            last = [values[-1] for run in runs if (values := run.points("val/acc")[1])]
            if last:
                accuracy.axhline(sum(last) / len(last), color=colour, linestyle="--", label="sft (end)")
            continue
        _draw(accuracy, runs, "val/acc", colour, algo)
        if any(run.points("uft/hint_tokens")[1] and max(run.points("uft/hint_tokens")[1]) > 0 for run in runs):
            _draw(hints, runs, "uft/hint_frac", colour, algo)
    seeds = len({curve.seed for curve in curves})
    accuracy.set(xlabel="reinforcement step", ylabel="accuracy without hint, greedy", ylim=(0, None))
    accuracy.set_title(f"{title}, {seeds} seed{'s' if seeds > 1 else ''}", loc="left", fontsize=11)
    accuracy.legend(frameon=False, ncols=2, loc="lower right")
    hints.set(xlabel="reinforcement step", ylabel="part of the solution given", ylim=(0, 1))
    for axes in (accuracy, hints):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    if hints.has_data():
        hints.legend(frameon=False)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def table(curves: list[Curve]) -> str:
    """Markdown: accuracy before, at the end and at its best, mean (lowest to highest) over seeds, and minutes."""
    lines = ["| algorithm | seeds | before | last | best | minutes |", "|---|---|---|---|---|---|"]
    for algo, runs in by_algorithm(curves).items():
        tested = [run for run in runs if run.points("val/acc")[1]]
        if not tested:
            continue
        accuracies = [run.points("val/acc")[1] for run in tested]
        # A run of several stages says in its summary how the base model did.
        before = [run.summary.get("val/acc before", run.points("val/acc")[1][0]) for run in tested]
        cells = [_cell(before), _cell([values[-1] for values in accuracies])]
        cells.append(_cell([max(values) for values in accuracies]))
        minutes = [run.summary["seconds"] / 60 for run in runs if "seconds" in run.summary]
        time = f"{sum(minutes) / len(minutes):.1f}" if minutes else "running"
        lines.append(f"| {algo} | {len(accuracies)} | {' | '.join(cells)} | {time} |")
    return "\n".join(lines)


def timing_table(curves: list[Curve]) -> str:
    """Markdown: median seconds of a reinforcement step by phase, tokens a second of a step, start-up, peak memory."""
    head = ["algorithm", *PHASES, "tokens/s", "validation", "start to end of step 1", "peak memory"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for algo, runs in by_algorithm(curves).items():
        for run in runs:
            # The first two steps warm up.
            steps = [data for step, data in run.metrics.items() if step > 2 and "timing_s/step" in data]
            if not steps:
                continue
            cells = [f"{statistics.median(data[f'timing_s/{phase}'] for data in steps):.2f}" for phase in PHASES]
            tokens = statistics.median(data["perf/total_num_tokens"] / data["timing_s/step"] for data in steps)
            tests = [data["timing_s/validation"] for step, data in run.metrics.items() if "timing_s/validation" in data]
            start = "" if run.start_to_first_step is None else f"{run.start_to_first_step:.0f} s"
            peak = run.summary.get("peak_memory_bytes")
            memory = f"{peak / 2**30:.1f} GiB" if peak else ""
            cells += [f"{tokens:.0f}", f"{statistics.median(tests):.1f} s" if tests else "", start, memory]
            lines.append(f"| {algo} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    mean = f"{sum(values) / len(values):.1%}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.1%} to {max(values):.1%})"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--out", required=True, type=Path, help="folder for curves.png and table.md")
    parser.add_argument("--title", default="countdown")
    arguments = parser.parse_args()
    curves = [load(folder) for folder in arguments.runs]
    draw_curves(curves, arguments.out / "curves.png", arguments.title)
    text = table(curves)
    (arguments.out / "table.md").write_text(text + "\n", encoding="utf-8")
    timing = timing_table(curves)
    (arguments.out / "timing.md").write_text(timing + "\n", encoding="utf-8")
    print(f"{text}\n\n{timing}")


if __name__ == "__main__":
    main()
