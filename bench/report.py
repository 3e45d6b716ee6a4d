"""bench.json, a table and a plot of the measurements."""

import statistics
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eval.reporting.cells import Table, markdown
from eval.reporting.style import BASE_COLOUR, HINT_LENGTHS, house_style, legend_below, save
from eval.reporting.tables import PHASES
from recipes.common.run_dir import write_json, write_text

Runs = dict[str, list[dict[str, Any]]]
"""By variant."""

REFERENCES = ("verl GRPO", "rft")
_GIB = 2**30
PARTS = dict(zip(PHASES, HINT_LENGTHS, strict=False))


def write(found: dict[str, Any], out: Path) -> None:
    """Write the three files to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "bench.json", found)
    write_text(out / "table.md", table(found))
    if found["runs"] or found["scaling"]:
        _plot(found, out / "bench.png")


def table(found: dict[str, Any]) -> str:
    """All results as Markdown."""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    machine = f"{found['device']}, {found['cores']} cores, profile {found['profile']}, shape {found['model']}"
    parts = [f"`{found['command']}`", f"{machine}; {versions}"]
    if found["runs"]:
        parts += _runs(found["runs"])
    if found["scaling"]:
        parts += _scaling(found["scaling"])
    if "memory" in found:
        parts += _memory(found["memory"])
    return "\n\n".join(parts) + "\n"


def _runs(runs: list[dict[str, Any]]) -> list[str]:
    size = runs[0]["size"]
    by_variant: Runs = defaultdict(list)
    for run in runs:
        by_variant[run["variant"]].append(run)
    return [
        f"{size['batch']} prompts x {size['n_rollout']} rollouts of {size['response']} tokens. Seconds: median over "
        "the measured steps of a run, then the median over runs (in brackets the lowest and the highest).",
        _phases(by_variant),
        _costs(by_variant),
        "Ratios within a round, their median over rounds. To verl GRPO: the whole difference, including faster "
        "rollouts. To rft: the cost of hints and their likelihood.",
        _ratios(by_variant),
    ]


def _phases(by_variant: Runs) -> str:
    rows = []
    for name, group in by_variant.items():
        cells = [_median([run["seconds"].get(phase) for run in group], spread=phase == "step") for phase in PHASES]
        rate = statistics.median(run["tokens"] / run["seconds"]["step"] for run in group)
        hints = statistics.fmean(run["hint_tokens"] for run in group)
        rows.append((name, str(len(group)), *cells, f"{rate:.0f}", f"{hints:.1f}"))
    return markdown(Table(("variant", "runs", *PHASES, "tokens/s", "hint tokens"), tuple(rows)))


def _costs(by_variant: Runs) -> str:
    rows = []
    for name, group in by_variant.items():
        cells = [name, _median([run["cpu_seconds"] for run in group], spread=True)]
        cells += [_median([run[key] for run in group]) for key in ("start_seconds", "first_step_seconds")]
        cells += [f"{max(run[key] for run in group):.2f} GiB" for key in ("peak_host_gib", "peak_training_gib")]
        rows.append(tuple(cells))
    head = ("variant", "CPU seconds per step", "start", "to the end of step 1", "memory of all", "of the trainer")
    return markdown(Table(head, tuple(rows)))


def _ratios(by_variant: Runs) -> str:
    compared: dict[str, Callable[[dict[str, Any]], float | None]] = {
        "step": lambda run: run["seconds"]["step"],
        "CPU seconds": lambda run: run["cpu_seconds"],
        "memory of the trainer": lambda run: run["peak_training_gib"],
    }
    references = [name for name in REFERENCES if name in by_variant]
    rows = []
    for name, group in by_variant.items():
        cells = [name]
        for reference in references:
            for of in compared.values():
                ratio = _ratio([of(run) for run in group], [of(run) for run in by_variant[reference]])
                cells.append("1" if name == reference else ratio)
        rows.append(tuple(cells))
    head = ("variant", *(f"{what} / {name}" for name in references for what in compared))
    return markdown(Table(head, tuple(rows)))


def _scaling(runs: list[dict[str, Any]]) -> list[str]:
    rows = []
    for run in runs:
        size, seconds = run["size"], run["seconds"]
        cells = [run["variant"], *(str(size[name]) for name in ("batch", "n_rollout", "response"))]
        cells += [f"{seconds['step']:.2f}", f"{run['tokens'] / seconds['step']:.0f}", f"{seconds['gen']:.2f}"]
        cells += [f"{seconds['update_actor']:.2f}", f"{run['peak_host_gib']:.2f} GiB"]
        rows.append(tuple(cells))
    head = ("variant", "prompts", "rollouts", "response", "step", "tokens/s", "gen", "update_actor", "peak host memory")
    return ["One run each.", markdown(Table(head, tuple(rows)))]


def _memory(memory: dict[str, Any]) -> list[str]:
    titles = {
        "grpo": "GRPO alone",
        "ours": "GRPO + hint NLL",
        "prompt logits": "GRPO + hint NLL by the prompt's logits",
    }
    rows = tuple(
        (title, f"{memory[way] / _GIB:.3f} GiB", f"{memory[way] / memory['grpo']:.3f}") for way, title in titles.items()
    )
    return [
        f"{memory['rows']} rows: prompt {memory['prompt']}, hint {memory['hint']}, hint and generation "
        f"{memory['response']} tokens; vocabulary {memory['vocabulary']}, hidden {memory['hidden']}, "
        f"{memory['device']}.",
        markdown(Table(("last layer, forward and backward", "peak", "to GRPO's"), rows)),
    ]


def _plot(found: dict[str, Any], file: Path) -> None:
    import matplotlib.pyplot as plt

    runs = found["runs"] or found["scaling"]
    by_name: dict[str, list[dict[str, float]]] = defaultdict(list)
    for run in runs:
        by_name[_label(run, bool(found["runs"]))].append(run["seconds"])
    with house_style():
        figure, axis = plt.subplots(figsize=(8.5, 1.5 + 0.5 * len(by_name)))
        handles: dict[str, Any] = {}
        for place, of_name in enumerate(by_name.values()):
            steps = [seconds["step"] for seconds in of_name]
            for part, (start, width) in bars(of_name).items():
                colour = PARTS.get(part, BASE_COLOUR)
                handles[part] = axis.barh(place, width, left=start, color=colour, height=0.62, zorder=2)
            middle = statistics.median(steps)
            error = [[middle - min(steps)], [max(steps) - middle]]
            handles["whole step"] = axis.errorbar(
                [middle], [place], xerr=error, color=axis.xaxis.label.get_color(), marker="o", markersize=4, zorder=3
            )
        axis.set_yticks(range(len(by_name)), by_name)
        axis.invert_yaxis()
        axis.grid(visible=False, axis="y")
        axis.set_xlabel("seconds")
        size = runs[0]["size"]
        what = f"{size['batch']} prompts x {size['n_rollout']} rollouts of {size['response']} tokens"
        axis.set_title(f"Seconds per step by phase, {found['device']}" + (f": {what}" if found["runs"] else ""))
        legend_below(figure, handles)
        save(figure, file)


def bars(of_name: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Start and length of each phase's bar, its median over runs. "rest" extends to the median of whole steps, as in
    the table, unless the phases' medians already add up to more."""
    found, left = {}, 0.0
    for phase in PHASES[:-1]:
        value = statistics.median(seconds.get(phase, 0.0) for seconds in of_name)
        found[phase] = (left, value)
        left += value
    rest = statistics.median(seconds["step"] for seconds in of_name) - left
    return found | ({"rest": (left, rest)} if rest > 0 else {})


def _label(run: dict[str, Any], same_size: bool) -> str:
    size = run["size"]
    return run["variant"] if same_size else f"{run['variant']} {size['batch']}x{size['n_rollout']}x{size['response']}"


def _median(values: list[float | None], *, spread: bool = False) -> str:
    numbers = [value for value in values if value is not None]
    if not numbers:
        return "-"
    text = f"{statistics.median(numbers):.2f}"
    return f"{text} ({min(numbers):.2f} to {max(numbers):.2f})" if spread and len(numbers) > 1 else text


def _ratio(values: list[float | None], reference: list[float | None]) -> str:
    """Median over rounds of the ratio within a round: whatever slows a whole round cancels out."""
    pairs = [a / b for a, b in zip(values, reference, strict=False) if a and b]
    return f"{statistics.median(pairs):.3f} ({min(pairs):.3f} to {max(pairs):.3f})" if pairs else "-"
