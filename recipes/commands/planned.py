"""A planned run of a sweep."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from recipes.common.run_dir import RunDir
from recipes.flags.parser import arguments
from recipes.run.launch import is_finished
from recipes.run.resume import refuse_other_run
from recipes.settings.experiment import Experiment
from recipes.settings.saved import read_experiment

State = Literal["finished", "unfinished", "not started"]


@dataclass(frozen=True)
class Planned:
    """One run of a sweep."""

    name: str
    """Name of its folder and prefix of its output."""

    folder: Path
    """Its folder."""

    experiment: Experiment

    flags: Mapping[str, Any]
    """Flags of run.py by name, without --out and --resume."""

    def arguments(self, *, resume: bool = False) -> list[str]:
        """Arguments of run.py that start or resume it."""
        return arguments({**self.flags, "out": str(self.folder), "resume": resume})

    @property
    def state(self) -> State:
        """Its state, according to its folder.

        Raises:
            ExperimentError: if the folder contains a run with other settings.
        """
        run = RunDir(self.folder)
        if not run.experiment.exists():
            return "not started"
        saved = read_experiment(run.experiment)
        refuse_other_run(run, saved, self.experiment)
        return "finished" if is_finished(run) and saved.T == self.experiment.T else "unfinished"
