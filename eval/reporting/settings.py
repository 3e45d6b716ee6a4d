"""How the runs of a report were set: what differs between them, and what all have in common."""

from __future__ import annotations

from collections.abc import Sequence

from eval.reporting.cells import Table
from eval.reporting.groups import Panel, shown, varying


def differences(panels: Sequence[Panel]) -> Table:
    """A row a setting that is not the same in all runs, a column a group with the values its runs have."""
    groups = [(panel, group) for panel in panels for group in panel.groups]
    every = [run.settings for _, group in groups for run in group.runs]
    head = [f"{panel.title}: {group.label}" if len(panels) > 1 else group.label for panel, group in groups]
    rows = []
    for name in varying(every):
        values = [dict.fromkeys(shown(run.settings.get(name)) for run in group.runs) for _, group in groups]
        rows.append((name, *(", ".join(each) for each in values)))
    return Table(("setting", *head), tuple(rows))


def common(panels: Sequence[Panel]) -> Table:
    """A row a setting that is the same in all runs."""
    every = [run.settings for panel in panels for group in panel.groups for run in group.runs]
    different = set(varying(every))
    rows = [(name, shown(value)) for name, value in every[0].items() if name not in different]
    return Table(("setting", "value"), tuple(rows))
