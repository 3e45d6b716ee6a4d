"""The settings of the runs of a report: differences, and what they have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.reporting.cells import Table
from eval.reporting.groups import Panel, shown, varying
from eval.reporting.read_runs import Run
from recipes.algorithms import AlgorithmFileError, get_algorithm
from recipes.settings.declare import declared
from recipes.settings.experiment import Experiment


def in_effect(run: Run) -> Mapping[str, Any]:
    """The settings of a run that affect its algorithm; all of them if the algorithm is unknown here."""
    try:
        algorithm = get_algorithm(str(run.settings["algo"]))
    except (KeyError, AlgorithmFileError):
        return run.settings
    stages = ("alignment",) if run.settings.get("data_kind") == "answers" else algorithm.stages
    idle = {name for name, each in declared(Experiment).items() if not each.applies(algorithm, stages)}
    return {name: value for name, value in run.settings.items() if name not in idle}


def differences(panels: Sequence[Panel]) -> Table:
    """A row per setting that differs between runs, a column per group with the values of its runs."""
    groups = [(panel, group) for panel in panels for group in panel.groups]
    every = [in_effect(run) for _, group in groups for run in group.runs]
    head = [f"{panel.title}: {group.label}" if len(panels) > 1 else group.label for panel, group in groups]
    rows = []
    for name in varying(every):
        values = [dict.fromkeys(shown(in_effect(run).get(name)) for run in group.runs) for _, group in groups]
        rows.append((name, *(", ".join(each) for each in values)))
    return Table(("setting", *head), tuple(rows))


def common(panels: Sequence[Panel]) -> Table:
    """A row per setting that is the same in all runs."""
    every = [in_effect(run) for panel in panels for group in panel.groups for run in group.runs]
    different = set(varying(every))
    rows = [(name, shown(value)) for name, value in every[0].items() if name not in different]
    return Table(("setting", "value"), tuple(rows))
