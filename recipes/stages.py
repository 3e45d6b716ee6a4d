"""The processes a run consists of: what each is given, and how one is run under the watchdog."""

import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from recipes.datafiles import DataFiles
from recipes.experiment import Experiment
from recipes.run_dir import RunDir, complete_checkpoints, write_json, write_text
from recipes.verl_plugin.verl_config import environment, rl_config, sft_config
from recipes.watch.supervise import START_HINT, Outcome, supervise

VERL_FILE = "verl.yaml"
EVALUATE_FILE = "evaluate.json"


@dataclass(frozen=True)
class Stage:
    """One process of a run."""

    title: str
    """What the progress bar says."""

    folder: RunDir
    """Where its records go."""

    command: list[str]
    """What is started, after the interpreter."""

    total_steps: int
    """Steps it will make, for the progress bar."""

    starting: str
    """What it says until its first sign of life."""

    prepare: Callable[[Path], None]
    """Writes its inputs into the folder; given a short-lived folder for sockets."""


def stages(experiment: Experiment, run: RunDir, files: DataFiles) -> list[Stage]:
    """The processes of a run in order. The last training stage writes into the run's own folder."""
    kinds = experiment.algorithm.stages
    if kinds == ("rl",):
        return [_rl_stage(experiment, run, files, experiment.model)]
    supervised = run if kinds == ("sft",) else RunDir(run.path / "sft")
    weights = str(supervised.hf / "last")
    found = [
        evaluation_stage(experiment, run, supervised, files, "base", experiment.model, step=0),
        _sft_stage(experiment, supervised, files, experiment.model),
    ]
    if kinds == ("sft",):
        steps = _sft_steps(experiment, files)
        return [*found, evaluation_stage(experiment, run, run, files, "trained", weights, step=steps)]
    # The reinforcement stage validates its own start, which is the supervised model.
    return [*found, _rl_stage(experiment, run, files, weights)]


def _rl_stage(experiment: Experiment, run: RunDir, files: DataFiles, model: str) -> Stage:
    def prepare(scratch: Path) -> None:
        config = rl_config(
            experiment,
            run=run,
            model=_absolute(model),
            train_file=files.train.resolve(),
            test_file=files.test.resolve(),
            resume_from=_newest_checkpoint(run),
            ray_folder=scratch,
        )
        _write_config(run, config)

    module = ["-m", "recipes.verl_plugin.main", str(run.path), *experiment.overrides]
    return Stage(f"{experiment.algo} on {Path(experiment.data).name}", run, module, experiment.T, START_HINT, prepare)


def _sft_stage(experiment: Experiment, run: RunDir, files: DataFiles, model: str) -> Stage:
    def prepare(_: Path) -> None:
        config = sft_config(
            experiment,
            run=run,
            model=_absolute(model),
            train_file=files.train.resolve(),
            test_file=files.test.resolve(),
            resume_from=_newest_checkpoint(run),
        )
        _write_config(run, config)

    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nnodes=1", f"--nproc_per_node={experiment.n_gpu}"]
    command = [*torchrun, "-m", "recipes.verl_plugin.sft_main", str(run.path)]
    return Stage(
        f"sft on {Path(experiment.data).name}",
        run,
        command,
        _sft_steps(experiment, files),
        "starting verl's SFT trainer",
        prepare,
    )


def evaluation_stage(
    experiment: Experiment, run: RunDir, owner: RunDir, files: DataFiles, name: str, model: str, step: int
) -> Stage:
    """Greedy accuracy of a model, recorded as `step` of the stage `owner`."""
    folder = RunDir(run.path / "eval" / name)

    def prepare(_: Path) -> None:
        arguments = {
            "model": _absolute(model),
            "data": str(files.test.resolve()),
            "run": str(owner.path),
            "step": step,
            "max_prompt_length": experiment.max_prompt_length,
            "max_response_length": experiment.max_response_length,
            "device": experiment.device,
            "limit": experiment.val_size,
            "seed": experiment.seed,
        }
        write_json(folder.path / EVALUATE_FILE, arguments)

    command = ["-m", "recipes.evaluate_stage", str(folder.path / EVALUATE_FILE)]
    return Stage(f"evaluating the {name} model", folder, command, 1, "loading the model into vLLM", prepare)


def run_stage(experiment: Experiment, stage: Stage, stall_minutes: float) -> Outcome:
    stage.folder.path.mkdir(parents=True, exist_ok=True)
    # Ray's sockets need a short path and are of no use afterwards.
    scratch = Path(tempfile.mkdtemp(prefix="uft-"))
    try:
        stage.prepare(scratch)
        return supervise(
            [sys.executable, *stage.command],
            environment(experiment, stage.folder),
            stage.folder.path,
            stall_minutes=stall_minutes,
            total_steps=stage.total_steps,
            title=stage.title,
            start_hint=stage.starting,
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _newest_checkpoint(run: RunDir) -> Path | None:
    whole = complete_checkpoints(run.checkpoints)
    return whole[-1][1] if whole else None


def _sft_steps(experiment: Experiment, files: DataFiles) -> int:
    return experiment.sft_epochs * (files.n_train // experiment.batch_size)


def _absolute(model: str) -> str:
    """A folder by its full path (workers run elsewhere), a hub name as it is."""
    return str(Path(model).resolve()) if Path(model).is_dir() else model


def _write_config(run: RunDir, config: dict[str, Any]) -> None:
    write_text(run.path / VERL_FILE, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
