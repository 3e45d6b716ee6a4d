"""One self-contained page with everything, pictures included, in the reader's light or dark mode."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.reporting.cells import Table, html, text
from eval.reporting.cost import EQUAL_COST, cost_table, equal_cost_table
from eval.reporting.groups import Panel
from eval.reporting.pairs import Pair, pairs_table, reading
from eval.reporting.samples import samples_of
from eval.reporting.settings import common, differences
from eval.reporting.simulated import ACCURACY, shown
from eval.reporting.tables import Row, result_rows, results_table, timing_table

_STYLE = """
:root { color-scheme: light dark; --ink: #1b2530; --soft: #5b6773; --line: #d5dbe1; --paper: #ffffff; --tint: #f2f5f8;
  --hint: #fff0c2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ee; --soft: #9dabb8; --line: #36414c; --paper: #12171c;
  --tint: #1b222a; --hint: #4a3d12; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; font: 16px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .4rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; } h4 { font-size: .9rem; margin: 1.1rem 0 .3rem; }
p, li { max-width: 46rem; } .soft { color: var(--soft); font-size: .9rem; }
.wide { overflow-x: auto; margin: .5rem 0; }
.wide svg { display: block; width: 100%; height: auto; } .narrow { display: none; max-width: 30rem; }
@media (max-width: 44rem) { .broad { display: none; } .narrow { display: block; }
  tbody th { white-space: normal; max-width: 8rem; } th, td { padding: .3rem .4rem; } }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { color: var(--soft); font-weight: 600; } tbody th { font-weight: 600; position: sticky; left: 0;
  background: var(--paper); } td:last-child { white-space: normal; min-width: 9rem; }
details { margin: .4rem 0; } summary { cursor: pointer; padding: .25rem 0; }
.sample { margin: .5rem 0; padding: .5rem .7rem; background: var(--tint); border-radius: .4rem; }
figcaption { font-size: .85rem; color: var(--soft); } .sample summary { font-size: .85rem; color: var(--soft); }
pre { margin: .3rem 0; white-space: pre-wrap; overflow-wrap: anywhere; font: .84rem/1.45 ui-monospace, monospace; }
.hint { background: var(--hint); border-radius: .2rem; }
"""

_READING = (
    "<b>before</b> is the base model, <b>last</b> the last validation: no step is picked by accuracy. Accuracies are "
    "without hints, and greedy if a run's --val_samples is 0. With several seeds: the mean, and the lowest to the "
    "highest. <b>95 %</b> is over seeds (Student's t with <b>df</b> degrees of freedom) and problems; with one seed it "
    "is over problems only and says nothing about other seeds. Minutes include start-up; peak memory is of all "
    "processes together, not of a GPU."
)
_SIMULATED = " In simulations that interval misses the true accuracy in {}; 5 % is nominal (results/false_positives)."


@dataclass(frozen=True)
class Picture:
    """One picture of the page."""

    heading: str
    caption: str
    svg: str
    narrow: str
    """The same for a narrow screen: one panel below the other."""


def page(
    title: str,
    panels: Sequence[Panel],
    pairs: Sequence[Pair],
    pictures: Iterable[Picture],
    skipped: Sequence[tuple[Path, str]],
) -> str:
    """The whole page as HTML."""
    rows = result_rows(panels)
    count = sum(len(group.runs) for panel in panels for group in panel.groups)
    body = [f"<h1>{text(title)}</h1>", f'<p class="soft">{count} run{"s" if count != 1 else ""}</p>']
    body += [f'<p class="soft">skipped: {text(str(folder))} {text(why)}</p>' for folder, why in skipped]
    body += [results_part(rows), _sources(rows)]
    for picture in pictures:
        body.append(f"<h2>{text(picture.heading)}</h2>")
        body.append(f'<p class="soft">{text(picture.caption)}</p><div class="wide broad">{picture.svg}</div>')
        body.append(f'<div class="wide narrow">{picture.narrow}</div>')
    body.append(pairs_part(pairs))
    body.append(_section("What it cost", cost_table(panels), _COST))
    body.append(_section("Differences at equal cost", equal_cost_table(panels), EQUAL_COST))
    body.append(_section("Where the time goes", timing_table(panels), _TIMING))
    body.append(_section("What was set differently", differences(panels), ""))
    body.append(f"<details><summary>settings that all runs share</summary>{html(common(panels))}</details>")
    body.append(_samples(panels))
    content = "\n".join(filter(None, body))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{_STYLE}</style></head>\n<body>\n{content}\n"
        "</body></html>\n"
    )


def results_part(rows: Sequence[Row]) -> str:
    """The results table and how to read it."""
    several = {row.df + 1 for row in rows if row.df}
    simulated = _SIMULATED.format(shown(ACCURACY, several)) if several else ""
    return f'<h2>Results</h2>\n{html(results_table(rows))}\n<p class="soft">{_READING}{simulated}</p>'


def pairs_part(pairs: Sequence[Pair]) -> str:
    """The comparisons and how to read them; empty if there are none."""
    return _section("Differences on the same problems", pairs_table(pairs), reading(pairs))


_COST = (
    "In total, and the accuracy (and its mean up to there, the area under the curve) at equal cost: where the cheapest "
    "of these ended. Millions of tokens; minutes are of training steps."
)
_TIMING = "Median seconds per reinforcement step, from the third on, by phase."


def _section(heading: str, table: Table, caption: str) -> str:
    if not table.rows:
        return ""
    return f"<h2>{text(heading)}</h2>{html(table)}" + (f'<p class="soft">{text(caption)}</p>' if caption else "")


def _sources(rows: Sequence[Row]) -> str:
    """The sources of the published numbers."""
    sources = dict.fromkeys((entry.source, entry.note) for row in rows for entry in row.published)
    if not sources:
        return ""
    items = "".join(f"<li>{text(source)}. {text(note)}</li>" for source, note in sources)
    return f'<p class="soft">Published accuracies of the same setting are from:</p><ul class="soft">{items}</ul>'


def _samples(panels: Sequence[Panel]) -> str:
    parts = []
    for panel in panels:
        for group in panel.groups:
            for run in group.runs:
                parts.append(samples_of(run, f"{panel.title}, {group.label}, seed {run.seed} ({run.name})"))
    if not any(parts):
        return ""
    legend = '<p class="soft"><span class="hint">Given as a hint</span>, then what the model wrote.</p>'
    return f"<h2>What the models wrote</h2>{legend}{''.join(parts)}"
