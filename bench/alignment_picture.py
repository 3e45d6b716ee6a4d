"""alignment.png of `python -m bench.alignment`: the table's qualities as points, one per seed, next to the base."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from eval.reporting.style import BASE_COLOUR, colour, house_style, save

_QUALITIES = {
    "accuracy": "right answers (more is better)",
    "sampled_score": "true score of drawn answers (more)",
    "pairs_ranked": "pairs ranked right (more)",
    "kl": "KL to the base, nats per answer (less)",
    "forgetting": "forgetting, nats per token (less)",
    "instruction_nll": "instructions, nats per token (less)",
}
_COLUMNS = 3


def draw(found: Sequence[dict[str, Any]], file: Path) -> None:
    """Write the picture of these measurements, a dictionary per run."""
    import matplotlib.pyplot as plt

    methods = list(dict.fromkeys(row["method"] for row in found if row["seed"] is not None))
    base = next((row for row in found if row["seed"] is None), None)
    with house_style():
        rows = -(-len(_QUALITIES) // _COLUMNS)
        size = (11, (0.9 + 0.26 * len(methods)) * rows)
        figure, grid = plt.subplots(rows, _COLUMNS, figsize=size, sharey=True, layout="constrained")
        for (key, title), axes in zip(_QUALITIES.items(), grid.flat, strict=True):
            for place, method in enumerate(methods):
                values = [row[key] for row in found if row["method"] == method]
                of = colour(method)
                axes.plot(values, [place] * len(values), "o", color=of, markersize=4.5, alpha=0.45, markeredgewidth=0)
                axes.plot([fmean(values)], [place], "|", color=of, markersize=13, markeredgewidth=2.2)
            if base is not None:
                axes.axvline(base[key], color=BASE_COLOUR, linestyle=(0, (4, 3)), linewidth=1.3)
            axes.set_title(title)
            axes.set_yticks(range(len(methods)), methods)
            axes.set_ylim(len(methods) - 0.5, -0.5)
            axes.set_xlim(min(0, axes.get_xlim()[0]), None)
        seeds = len({row["seed"] for row in found} - {None})
        figure.suptitle(
            f"Alignment on the synthetic set: {seeds} seeds (dots), their mean (bar), the base (dashed)",
            x=0.01,
            ha="left",
            fontsize=12,
        )
        save(figure, file)
