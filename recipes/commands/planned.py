"""One run of a sweep, before it is made."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from recipes.common.run_dir import RunDir
from recipes.flags.parser import arguments
from recipes.run.launch import is_finished
from recipes.run.resume import refuse_other_run
from recipes.settings.experiment import Experiment, read_experiment

State = Literal["finished", "unfinished", "not started"]


@dataclass(frozen=True)
class Planned:
    """One run of a sweep."""

    name: str
    """Of its folder and of its lines on the screen."""

    folder: Path
    """Where it goes."""

    experiment: Experiment
    """What it is."""

    flags: Mapping[str, Any]
    """Flags of run.py by name, without --out and --resume."""

    def arguments(self, *, resume: bool = False) -> list[str]:
        """What run.py is given to start it, or to go on with it."""
        return arguments({**self.flags, "out": str(self.folder), "resume": resume})

    @property
    def state(self) -> State:
        """How far it is, by what its folder holds.

        Raises:
            ExperimentError: when that is a run with other settings.
        """
        run = RunDir(self.folder)
        if not run.experiment.exists():
            return "not started"
        saved = read_experiment(run.experiment)
        refuse_other_run(run, saved, self.experiment)
        whole = is_finished(run) and saved.T == self.experiment.T
        return "finished" if whole else "unfinished"
