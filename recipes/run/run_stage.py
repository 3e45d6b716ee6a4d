"""A stage of a run: one process, started under the watchdog."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from recipes.common.loopback import alone
from recipes.common.machine import allow_open_files
from recipes.common.run_dir import RunDir
from recipes.settings.early_stopping import Criterion
from recipes.settings.experiment import Experiment
from recipes.verl_plugin.environment import CPU, environment, python_path
from recipes.verl_plugin.serve_client import SERVE, serve_command
from recipes.verl_plugin.warm_client import SHARED, server_pid, shared_server
from recipes.verl_plugin.warm_client import command as warm_command
from recipes.watch.scratch import COMPILED, caches, short_folder, usual_compiled
from recipes.watch.supervise import Outcome, supervise

RL_MODULE = ["-m", "recipes.verl_plugin.main"]


@dataclass(frozen=True)
class Stage:
    """One process of a run."""

    title: str
    """Title of the progress bar."""

    folder: RunDir
    """Where its records go."""

    command: list[str]
    """Arguments of the Python interpreter."""

    total_steps: int
    """Steps it will make, for the progress bar."""

    starting: str
    """Shown until the first heartbeat."""

    prepare: Callable[[Path], None]
    """Writes its inputs into the folder; given a temporary folder for sockets."""

    ends_with_checkpoint: bool = False
    """Whether nothing is left to do once the checkpoint of the last step is complete."""

    validated: Criterion | None = None
    """The criterion by which --early_stopping may end it."""

    may_fail: bool = False
    """Whether the run is finished without it, as for a mere measurement."""

    result: str = ""
    """For measurements: the JSON file in its folder without which it is not finished."""

    go_on: str = ""
    """How to continue after it was stopped; empty: from its checkpoints."""


def run_stage(experiment: Experiment, stage: Stage, stall_minutes: float) -> Outcome:
    """Run a stage under the watchdog, with temporary folders and a Ray of its own."""
    stage.folder.path.mkdir(parents=True, exist_ok=True)
    with short_folder(stage.folder.path) as scratch:
        stage.prepare(scratch)
        env = environment(experiment, stage.folder) | caches(scratch)
        if not os.environ.get("RAY_ADDRESS"):
            env |= alone(scratch)
        # verl and vLLM leave sockets and locks in TMPDIR, which nothing would remove from the system's folder.
        env |= {"TMPDIR": str(scratch), COMPILED: os.environ.get(COMPILED, usual_compiled())}
        command, helpers = _started_with(experiment, stage)
        return supervise(
            command,
            env,
            stage.folder.path,
            stall_minutes=stall_minutes,
            total_steps=stage.total_steps,
            title=stage.title,
            start_hint=stage.starting,
            helpers=helpers,
            forked_from=server_pid() if experiment.device == "cpu" else None,
            go_on=stage.go_on,
        )


def _started_with(experiment: Experiment, stage: Stage) -> tuple[list[str], Path | None]:
    """(command, folder of its helper processes): a plain process, or one from servers that share imports or starts."""
    served, shared = (os.environ.get(name) if experiment.device == "cpu" else None for name in (SERVE, SHARED))
    if served and stage.command[: len(RL_MODULE)] == RL_MODULE and not os.environ.get("RAY_ADDRESS"):
        return [*serve_command(served), *stage.command[len(RL_MODULE) :]], Path(served).parent
    return [*(warm_command(shared) if shared else [sys.executable]), *stage.command], None


@contextmanager
def shared_imports(device: str) -> Iterator[None]:
    """On the CPU: torch and vLLM are imported once for all stages within the block, in the background."""
    allow_open_files()
    if device != "cpu" or SHARED in os.environ:
        yield
        return
    with short_folder() as scratch, shared_server(scratch, {**CPU, **python_path(), **caches(scratch)}):
        yield
