"""From an Experiment to its results: data, stages one after another under the watchdog, and a closing summary."""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from recipes import datafiles
from recipes.datafiles import DataFiles
from recipes.experiment import Experiment, ExperimentError, from_yaml, to_yaml
from recipes.plan import describe
from recipes.run_dir import RunDir, complete_checkpoints, publish, read_metrics, write_json, write_text
from recipes.verl_plugin.verl_config import environment, rl_config, sft_config
from recipes.watch.supervise import START_HINT, Outcome, supervise

ROOT = Path(__file__).resolve().parents[1]
VERL_FILE = "verl.yaml"
EVALUATE_FILE = "evaluate.json"
DONE = "done.json"

# What may differ between a run and its continuation: nothing that changes what the finished steps did.
_MAY_CHANGE = {
    "T",
    "logger",
    "log_rollouts",
    "keep_checkpoints",
    "tokens_per_micro_batch",
    "rollout_memory",
    "max_num_seqs",
}


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


def launch(experiment: Experiment, out: Path, *, resume: bool, stall_minutes: float) -> int:
    """Run every stage of an experiment. Returns the exit code: 0 only when the whole run finished.

    Raises:
        ExperimentError: before anything starts, when the folder belongs to another run.
    """
    run = RunDir(out.resolve())
    experiment = _claim(run, experiment, resume)
    files = datafiles.locate(experiment, ROOT)
    print(describe(experiment, files), flush=True)
    datafiles.prepare(experiment, files)
    files = datafiles.locate(experiment, ROOT)
    started = time.time()
    outcomes: list[Outcome] = []
    for stage in stages(experiment, run, files):
        if (stage.folder.path / DONE).exists():
            continue
        outcome = _run_stage(experiment, stage, stall_minutes)
        outcomes.append(outcome)
        print(outcome.paragraph, flush=True)
        if outcome.exit_code:
            return outcome.exit_code
        write_json(stage.folder.path / DONE, {"time": time.time(), "seconds": outcome.seconds})
    _finish(experiment, run, files, time.time() - started, outcomes)
    return 0


def stages(experiment: Experiment, run: RunDir, files: DataFiles) -> list[Stage]:
    """The processes of a run in order. The last training stage writes into the run's own folder."""
    kinds = experiment.algorithm.stages
    if kinds == ("rl",):
        return [_rl_stage(experiment, run, files, experiment.model)]
    supervised = run if kinds == ("sft",) else RunDir(run.path / "sft")
    weights = str(supervised.hf / "last")
    found = [
        _evaluation(experiment, run, supervised, files, "base", experiment.model, step=0),
        _sft_stage(experiment, supervised, files, experiment.model),
    ]
    if kinds == ("sft",):
        steps = _sft_steps(experiment, files)
        return [*found, _evaluation(experiment, run, run, files, "trained", weights, step=steps)]
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


def _evaluation(
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


def _run_stage(experiment: Experiment, stage: Stage, stall_minutes: float) -> Outcome:
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


def _claim(run: RunDir, experiment: Experiment, resume: bool) -> Experiment:
    """Take the folder for this experiment, or continue the one in it."""
    if not run.experiment.exists():
        write_text(run.experiment, to_yaml(experiment))
        return experiment
    if not resume:
        raise ExperimentError(
            f"{run.path} already holds a run; add --resume to continue it, or --out for another folder"
        )
    saved = from_yaml(run.experiment.read_text(encoding="utf-8"))
    for field in fields(Experiment):
        before, now = getattr(saved, field.name), getattr(experiment, field.name)
        if before != now and field.name not in _MAY_CHANGE:
            raise ExperimentError(
                f"--resume: {run.path} was started with {field.name} {before}, now it is {now}; "
                f"give the value it was started with, or --out for another folder"
            )
    if experiment.T < saved.T:
        raise ExperimentError(f"--resume: {run.path} was started with T {saved.T}; it can be extended, not shortened")
    if experiment.T > saved.T:
        (run.path / DONE).unlink(missing_ok=True)
    write_text(run.experiment, to_yaml(experiment))
    return experiment


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


def _finish(experiment: Experiment, run: RunDir, files: DataFiles, seconds: float, outcomes: list[Outcome]) -> None:
    """Write summary.json, and print where everything is and how much was gained."""
    if experiment.algorithm.stages == ("sft",):
        publish(run.hf / "last", run.hf / "best")
    accuracy = [(row["step"], row["data"]["val/acc"]) for row in read_metrics(run.metrics) if "val/acc" in row["data"]]
    accuracy.sort()
    best = max(accuracy, key=lambda point: point[1], default=None)
    base = run.path / "eval/base/results.json"
    before = json.loads(base.read_text())["accuracy"] if base.exists() else accuracy[0][1] if accuracy else None
    summary = {
        "algo": experiment.algo,
        "data": experiment.data,
        "model": experiment.model,
        "experiment_hash": experiment.hash,
        "seed": experiment.seed,
        "val/acc before": before,
        "val/acc last": accuracy[-1][1] if accuracy else None,
        "val/acc best": best[1] if best else None,
        "best step": best[0] if best else None,
        "seconds": round(seconds, 1),
        "peak_memory_bytes": max((outcome.peak_rss_bytes for outcome in outcomes), default=None),
    }
    write_json(run.summary, summary)
    lines = [f"\nweights        {_short(run.hf / 'last')}  (best step: {_short(run.hf / 'best')})"]
    lines.append(f"metrics        {_short(run.metrics)}, {_short(run.path / 'tensorboard')}")
    lines.append(f"answers        {_short(run.validation if run.validation.exists() else run.path / 'eval')}")
    if best and before is not None:
        problems = files.n_test if experiment.val_size < 0 else min(experiment.val_size, files.n_test)
        lines.append(
            f"accuracy       {before:.1%} before, {accuracy[-1][1]:.1%} after, best {best[1]:.1%} at step {best[0]}"
            f"  ({problems} problems, greedy)"
        )
    lines.append(f"time           {seconds / 60:.1f} min")
    print("\n".join(lines), flush=True)


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def dry_run(experiment: Experiment, out: Path) -> str:
    """What `launch` would do: the plan, the commands and verl's configuration. Starts and writes nothing."""
    run = RunDir(out.resolve())
    files = datafiles.locate(experiment, ROOT)
    parts = [describe(experiment, files), "\nenvironment:"]
    parts += [f"  {name}={value}" for name, value in environment(experiment, run).items()]
    parts.append("commands:")
    parts += [f"  python {' '.join(stage.command)}" for stage in stages(experiment, run, files)]
    if "rl" in experiment.algorithm.stages:
        config = rl_config(
            experiment,
            run=run,
            model=experiment.model,
            train_file=files.train,
            test_file=files.test,
            resume_from=None,
        )
        parts += [f"{run.path / VERL_FILE} (laid over verl's ppo_trainer):", yaml.safe_dump(config, sort_keys=False)]
    else:
        config = sft_config(
            experiment, run=run, model=experiment.model, train_file=files.train, test_file=files.test, resume_from=None
        )
        parts += [
            f"{run.path / VERL_FILE} (laid over verl's sft_trainer_engine):",
            yaml.safe_dump(config, sort_keys=False),
        ]
    return "\n".join(parts)
