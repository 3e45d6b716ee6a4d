"""`python -m bench.chain_pages`: the curve on chain in every algorithm's page, from results/chain_cpu/validations.csv.

Each page gets a table and a picture between two markers, after the hand-written part. Setting: a tenth of the
solutions' steps wrong, three seeds, sampled accuracy without a hint.
"""

import csv
import re
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from recipes.algorithms import algorithms

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs/algorithms"
PICTURES = PAGES / "on_chain"
SOURCE = ROOT / "results/chain_cpu/validations.csv"

BEGIN, END = "<!-- on chain: python -m bench.chain_pages -->", "<!-- on chain: end -->"
COMPARED = ("uft", "rft")
"""Drawn in grey in every picture."""

Curve = dict[int, float]
"""Accuracy by step."""

_WIDE, _HIGH, _LEFT, _TOP = 360, 150, 34, 10


def curves(source: Path = SOURCE) -> dict[str, list[Curve]]:
    """The curves of each algorithm, one per seed. A supervised first stage ends at step 0 of the second."""
    found: dict[str, dict[str, Curve]] = defaultdict(dict)
    with source.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["sweep"].endswith("10"):
                curve = found[row["run"].partition("-chain-")[0]].setdefault(row["run"], {})
                curve[int(row["step"])] = float(row["val/acc"])
    return {name: list(runs.values()) for name, runs in found.items()}


def picture(name: str, known: dict[str, list[Curve]]) -> str:
    """An SVG: every seed of `name`, and the means of COMPARED."""
    last = max(step for run in known[name] for step in run)
    grey = [(other, [_mean(known[other])]) for other in COMPARED if other != name and other in known]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {_HIGH}" width="{_WIDE}" height="{_HIGH}" '
        'font-family="sans-serif" font-size="10">',
        f"<title>{name} on chain: accuracy by step, a line per seed</title>",
        f'<rect width="{_WIDE}" height="{_HIGH}" fill="#fff"/>',
    ]
    for share in (0.0, 0.5, 1.0):
        y = _y(share)
        lines.append(f'<path d="M{_LEFT} {y}H{_WIDE - 60}" stroke="#ddd"/>')
        lines.append(f'<text x="{_LEFT - 4}" y="{y + 3}" text-anchor="end" fill="#555">{share:.0%}</text>')
    for share in (0, 1):
        x = _x(share, 1)
        lines.append(f'<text x="{x}" y="{_HIGH - 6}" text-anchor="middle" fill="#555">{share * last}</text>')
    for other, runs in grey:
        lines += [_line(run, last, "#999", 1.0, dashed=True) for run in runs]
        lines.append(_label(other, runs[0], last, "#777"))
    lines += [_line(run, last, "#0b6bcb", 1.5) for run in known[name]]
    lines.append(_label(name, _mean(known[name]), last, "#0b6bcb", first=True))
    return "\n".join([*lines, "</svg>", ""])


def section(names: list[str], known: dict[str, list[Curve]]) -> str:
    """What goes between the markers of the page of these algorithms."""
    shown = [*names, *(other for other in COMPARED if other not in names)]
    parts = [BEGIN, "## On chain", ""]
    for steps in sorted({tuple(sorted(known[name][0])) for name in shown}, key=len, reverse=True):
        parts.append("| step | " + " | ".join(map(str, steps)) + " |")
        parts.append("|---" * (len(steps) + 1) + "|")
        for name in shown:
            if tuple(sorted(known[name][0])) == steps:
                mean = _mean(known[name])
                parts.append(f"| {name} | " + " | ".join(_percent(mean[step]) for step in steps) + " |")
        parts.append("")
    ends = [f"{name} {_percent(min(_ends(known[name])))} to {_percent(max(_ends(known[name])))}" for name in names]
    parts += [
        f"Percentage of correct sampled answers, without a hint, mean of {len(known[names[0]])} seeds; at the",
        f"last step, lowest to highest: {', '.join(ends)}.",
        "Ten steps per problem, a base that gets each right a little over half the time, solutions with a tenth of",
        "their steps wrong. rft stays at 0 by the entropy bonus; with `--entropy_coef 0` it ends at 97.4:",
        "[results/chain_cpu](../../results/chain_cpu/README.md) has the commands, intervals and what else was run.",
        "",
        *(f"![{name} on chain](on_chain/{name}.svg)" for name in names),
        END,
        "",
    ]
    return "\n".join(parts)


def named_in(page: str) -> list[str]:
    """The algorithms whose command a page shows."""
    return [name for name in algorithms() if re.search(rf"^python3 run\.py --algo {name}(?!\w)", page, re.MULTILINE)]


def with_section(page: str, known: dict[str, list[Curve]]) -> str:
    """The page with its section up to date: none where nothing was run."""
    names = [name for name in named_in(page) if name in known]
    by_hand = page.partition(BEGIN)[0].rstrip() + "\n"
    return by_hand + ("\n" + section(names, known) if names else "")


def _mean(runs: list[Curve]) -> Curve:
    return {step: fmean(run[step] for run in runs) for step in sorted(set.intersection(*map(set, runs)))}


def _ends(runs: list[Curve]) -> list[float]:
    return [run[max(run)] for run in runs]


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _x(step: float, last: int) -> float:
    return round(_LEFT + (_WIDE - 60 - _LEFT) * min(step / last, 1), 1)


def _y(share: float) -> float:
    return round(_TOP + (_HIGH - 30 - _TOP) * (1 - share), 1)


def _line(run: Curve, last: int, colour: str, width: float, *, dashed: bool = False) -> str:
    points = " ".join(f"{_x(step, last)},{_y(run[step])}" for step in sorted(run))
    dash = ' stroke-dasharray="3 2"' * dashed
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"{dash}/>'


def _label(name: str, run: Curve, last: int, colour: str, *, first: bool = False) -> str:
    y = _y(run[max(run)]) + (3 if first else 14 if run[max(run)] > 0.5 else -4)
    return f'<text x="{_WIDE - 57}" y="{y}" fill="{colour}">{name}</text>'


def main() -> None:
    """Rewrite pages and pictures."""
    known = curves()
    PICTURES.mkdir(exist_ok=True)
    for name in known:
        (PICTURES / f"{name}.svg").write_text(picture(name, known), encoding="utf-8")
    for page in sorted(PAGES.glob("*.md")):
        if page.name not in ("README.md", "gradient.md", "own.md"):
            text = page.read_text(encoding="utf-8")
            page.write_text(with_section(text, known), encoding="utf-8")


if __name__ == "__main__":
    main()
