"""Algorithms compared on the same problems: which differences in the results table are more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from eval.intervals import compare
from eval.reporting.cells import Table
from eval.reporting.groups import Group, Panel
from eval.reporting.read_runs import verdicts

Verdicts = Mapping[tuple[str, int], float]

HEAD = ("compared", "difference", "95 %", "better on", "worse on", "p", "test")


def pairs_table(panels: Sequence[Panel]) -> Table:
    """A row a pair of groups of a panel that are finished and kept their last answers to the same problems."""
    rows = []
    for panel in panels:
        answered = [(group, values) for group in panel.groups if (values := _values(group))]
        for (a, of_a), (b, of_b) in combinations(answered, 2):
            if of_a.keys() != of_b.keys():
                continue
            found = compare(of_b, of_a)
            where = f"{panel.title}: " if len(panels) > 1 else ""
            interval = found.difference
            rows.append(
                (
                    f"{where}{b.label} - {a.label}",
                    f"{100 * interval.mean:+.1f}",
                    f"{100 * interval.low:+.1f} to {100 * interval.high:+.1f}",
                    *(str(found.wins), str(found.losses)),
                    f"{found.p_value:.3f}" if found.p_value >= 0.001 else "< 0.001",
                    found.test,
                )
            )
    return Table(HEAD, tuple(rows))


def _values(group: Group) -> Verdicts:
    """The mean verdict over seeds on each problem; empty while one trains, or if they were tested on different ones."""
    answers = [verdicts(run) for run in group.runs]
    if not all(run.finished for run in group.runs) or any(each.keys() != answers[0].keys() for each in answers):
        return {}
    return {problem: sum(each[problem] for each in answers) / len(answers) for problem in answers[0]}
