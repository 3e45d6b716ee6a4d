"""The intervals of results/countdown_cpu from the committed summary of its runs: answers by problem were not kept.

    python -m bench.kept_intervals          rewrites table.md, table.csv and pairs.md

kept.json holds the number of correct answers of each run, and bootstrap intervals of earlier reports: over problems for
the differences, over seeds and problems for the accuracies. The latter replace intervals over problems alone, which
makes the accuracies' intervals a little too wide. Reports of new sweeps do not need this.
"""

import json
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

from eval.intervals import Interval, over_both, p_value, spread
from eval.report import comparisons
from eval.reporting.cells import markdown
from eval.reporting.pairs import Pair
from eval.reporting.tables import BESIDE, Row, comma_separated, results_table
from recipes.common.run_dir import write_text

FOLDER = Path(__file__).resolve().parents[1] / "results/countdown_cpu"


def rows_of(kept: dict[str, Any]) -> list[Row]:
    """The rows of the results table."""
    rows = []
    for label, of in kept["algorithms"].items():
        last = [right / kept["problems"] for right in of["right"]]
        seeds = spread(last)
        rows.append(
            Row(
                panel="countdown",
                label=label,
                seeds=len(last),
                before=(of["before"],) * len(last),
                last=tuple(last),
                beside=dict.fromkeys(BESIDE, ()),
                interval=over_both(seeds, Interval(fmean(last), *of["bootstrap of seeds and problems"])),
                df=seeds.df if seeds else 0,
                seconds=(of["seconds"],),
                peak_bytes=(of["peak_memory_bytes"],),
                published=(),
                notes=(),
            )
        )
    return rows


def pairs_of(kept: dict[str, Any]) -> list[Pair]:
    """Every pair of algorithms, the later minus the earlier."""
    pairs = []
    for a, b in combinations(kept["algorithms"], 2):
        right = (kept["algorithms"][each]["right"] for each in (b, a))
        by_seed = tuple((one - other) / kept["problems"] for one, other in zip(*right, strict=True))
        name, seeds = f"{b} - {a}", spread(by_seed)
        low, high = (end / 100 for end in kept["bootstrap of problems"][name])
        problems = Interval(fmean(by_seed), low, high)
        p = p_value(seeds, problems)
        pairs.append(Pair(name, str(len(by_seed)), by_seed, seeds, problems, p, "t and problems"))
    return pairs


def main(folder: Path = FOLDER) -> None:
    """Rewrite the files."""
    kept = json.loads((folder / "kept.json").read_text(encoding="utf-8"))
    rows, pairs = rows_of(kept), pairs_of(kept)
    write_text(folder / "table.md", markdown(results_table(rows)) + "\n")
    write_text(folder / "table.csv", comma_separated(rows))
    write_text(folder / "pairs.md", comparisons(pairs) + "\n")


if __name__ == "__main__":
    main()
