"""Pictures, tables and one page from the records of runs, finished or not.

    python -m eval.report out/a out/b ... --out report
takes run folders and folders of runs (a sweep), of any tasks, algorithms and seeds, and writes to --out:
    index.html      everything below in one file, with sample texts and differences in settings
    curves.png      accuracy over reinforcement steps; published accuracies of the same setting at the right edge
    hints_*.png     how much of the solutions was given, and the reward by hint length
    training_*.png  losses, entropy, KL, answer length
    table.md, table.csv, pairs.md, timing.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from eval.reporting.cells import markdown
from eval.reporting.cost import cost_text, draw_costs
from eval.reporting.curves import draw_curves
from eval.reporting.groups import Panel, panels
from eval.reporting.page import Picture, page
from eval.reporting.pairs import Pair, pairs_of, pairs_table, reading
from eval.reporting.read_runs import find_runs
from eval.reporting.style import close, house_style, png, svg, write_bytes
from eval.reporting.tables import comma_separated, result_rows, results_table, timing_table
from eval.reporting.training import draw_hints, draw_training
from recipes.common.run_dir import write_text


def report(folders: Sequence[Path], out: Path, title: str = "") -> str:
    """Write a report on all runs in these folders to `out`, and return its tables as Markdown.

    Args:
        title: of the page and the curves; default: the tasks.

    Raises:
        FileNotFoundError: if none of the folders has a run; says why for each.
    """
    runs, skipped = find_runs(folders)
    if not runs:
        raise FileNotFoundError("no run to report on:\n" + "\n".join(f"  {folder} {why}" for folder, why in skipped))
    for folder, why in skipped:
        print(f"skipped: {folder} {why}", file=sys.stderr)
    places = panels(runs)
    title = title or ", ".join(dict.fromkeys(panel.title for panel in places))
    pictures = draw_all(places, out, title)
    rows = result_rows(places)
    pairs = pairs_of(places)
    tables = {
        "table.md": markdown(results_table(rows)),
        "timing.md": markdown(timing_table(places)),
        "cost.md": cost_text(places),
    }
    if pairs:
        tables["pairs.md"] = comparisons(pairs)
    else:
        (out / "pairs.md").unlink(missing_ok=True)  # from an earlier report
    for name, content in tables.items():
        write_text(out / name, content + "\n")
    write_text(out / "table.csv", comma_separated(rows))
    write_text(out / "index.html", page(title, places, pairs, pictures, skipped))
    return "\n\n".join([*tables.values(), *([] if pairs else [_NOTHING_COMPARED])])


def comparisons(pairs: Sequence[Pair]) -> str:
    """The comparisons as Markdown, and how to read them."""
    return f"{markdown(pairs_table(pairs))}\n\n{reading(pairs)}"


_NOTHING_COMPARED = (
    "Nothing is compared (no pairs.md): this requires two groups of finished runs on one task, with their last answers "
    "to the same problems in validation/."
)


def draw_all(places: Sequence[Panel], out: Path, title: str) -> list[Picture]:
    """Write every picture as a PNG file, and return them for the page."""
    drawn = [_keep(partial(draw_curves, places, title), out / "curves.png", "Accuracy", _CURVES)]
    for panel in places:
        where = f", {panel.title}" if len(places) > 1 else ""
        # A single panel of accuracies already shows how much was given.
        hints = partial(draw_hints, panel, share=len(places) > 1)
        for draw, name, heading, caption in (
            (partial(draw_costs, panel), "cost", "Accuracy by what it cost", _COST),
            (hints, "hints", "Hints", _HINTS),
            (partial(draw_training, panel), "training", "Training", _TRAINING),
        ):
            drawn.append(_keep(draw, out / f"{name}_{panel.slug}.png", heading + where, caption))
    return [picture for picture in drawn if picture is not None]


_CURVES = (
    "Accuracy without hints on the test problems of the table, from each run's validations. Solid: over reinforcement "
    "steps, the mean over seeds and a band from lowest to highest, whose right end is the table's last. Dashed: the "
    "base model and the end of supervised training."
)
_COST = (
    "Means over seeds. Tokens in updates are all tokens that the trainer saw: prompts, hints, answers, demonstrations, "
    "including an earlier supervised stage. Minutes are of training steps, without start-up and validation."
)
_HINTS = (
    "Mean reward of rollouts by the length of their hint, over all seeds and a tenth of the run at a time, since a "
    "step has few rollouts of each length. How much of the solutions was given is shown next to the accuracies, or "
    "here if there are several tasks."
)
_TRAINING = "What training recorded. A quantity that no run recorded has no panel."


def _keep(draw: Callable[..., Any], file: Path, heading: str, caption: str) -> Picture | None:
    """Writes the picture to a file, and returns it in two layouts for the page; None if there is nothing to draw."""
    with house_style():
        figure = draw()
        if figure is None:
            return None
        write_bytes(file, png(figure))
        broad = svg(figure, caption)
        close(figure)
        figure = draw(narrow=True)
        picture = Picture(heading, caption, broad, svg(figure, caption))
        close(figure)
        return picture


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders, or folders of runs")
    parser.add_argument("--out", required=True, type=Path, help="folder for the report")
    parser.add_argument("--title", default="", help="of the page and the curves; default: the tasks")
    arguments = parser.parse_args()
    try:
        print(report(arguments.runs, arguments.out, arguments.title))
    except FileNotFoundError as error:
        raise SystemExit(str(error)) from None
    print(f"\n{arguments.out / 'index.html'}")


if __name__ == "__main__":
    main()
