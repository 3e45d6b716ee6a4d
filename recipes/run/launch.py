"""Runs an Experiment: prepares data, runs the stages in order under the watchdog, writes the summary."""

import contextlib
import io
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from recipes import ROOT
from recipes.checks.algorithm_check import try_with_torch
from recipes.checks.model_check import refuse_model
from recipes.common.errors import ExperimentError
from recipes.common.machine import gpu_count, installed_vllm
from recipes.common.numbered import counted
from recipes.common.run_dir import (
    RunDir,
    checkpoint_step,
    damaged_lines,
    keep_newest,
    read_json,
    read_metrics,
    write_json,
    write_text,
)
from recipes.data import data_check, datafiles
from recipes.data.datafiles import DataFiles
from recipes.data.demonstrations import demonstrated
from recipes.data.stored_tokenizer import is_here, stored_tokenizer
from recipes.estimate.machine_needs import refuse_too_large
from recipes.flags.config_file import record
from recipes.run.auto_batch import fitting, run_fitting
from recipes.run.build_stages import refuse_idle_patience, stages, training_plan
from recipes.run.closing import finish, is_summarised, short, write_results
from recipes.run.hub import push, refuse_push
from recipes.run.place import cannot_write, refuse_place, refuse_small_disk
from recipes.run.plan import describe
from recipes.run.resume import (
    as_begun,
    check_folder,
    drop_damaged_copies,
    nothing_begun,
    older_folder,
    record_data,
    refuse_other_data,
)
from recipes.run.spent import begin, count, count_killed
from recipes.run.stages import OWN_TEXTS, VERL_FILE, Stage, absolute, newest_checkpoint, run_stage, shared_imports
from recipes.settings.early_stopping import ended
from recipes.settings.experiment import Experiment, read_experiment, to_yaml
from recipes.trl_plugin.plan import PLAN_FILE, check_machine, refuse_long_rows
from recipes.verl_plugin.environment import environment
from recipes.verl_plugin.verl_config import rl_config, sft_config
from recipes.watch.processes import end_leftovers_held, hold_run
from recipes.watch.scratch import data_folder
from recipes.watch.supervise import Outcome

DONE = "done.json"


def launch(
    experiment: Experiment,
    out: Path,
    *,
    resume: bool,
    stall_minutes: float,
    auto_batch: bool = False,
    given: Mapping[str, Any] | None = None,
    push_to_hub: str | None = None,
) -> int:
    """Run every stage of an experiment. Returns the exit code: 0 only if the entire run finished.

    `given`: the flags it was made from, recorded for --config.
    `auto_batch`: a stage that runs out of GPU memory is retried with less (recipes/run/auto_batch.py).
    `push_to_hub`: the hub repository for the final weights.

    Raises:
        ExperimentError: before anything starts, e.g. if the folder belongs to another run.
    """
    refuse_missing_devices(experiment)
    refuse_place(out)
    run = _folder(out, experiment, resume)
    # Lock first, then write: a refused command must not change anything of a run in progress.
    with taken(run.path), shared_imports(experiment.device):
        check_folder(run, experiment, resume)
        experiment = _begun(run, experiment)
        if push_to_hub:
            refuse_push(push_to_hub, make=True)
        code = _launch(experiment, run, stall_minutes=stall_minutes, auto_batch=auto_batch, given=given)
        if push_to_hub and not code:
            print(f"on the hub     {push(run, push_to_hub)}", flush=True)
        return code


def _folder(out: Path, experiment: Experiment, resume: bool) -> RunDir:
    run = RunDir(out.resolve())
    run = older_folder(run, experiment) if resume else run
    if resume and not run.experiment.exists():
        print(nothing_begun(run.path), flush=True)
    return run


def _begun(run: RunDir, experiment: Experiment) -> Experiment:
    """The experiment as the run in the folder was started, if there is one."""
    if not run.experiment.exists():
        return experiment
    begun = as_begun(read_experiment(run.experiment), experiment)
    if begun.dual_clip != experiment.dual_clip:
        print(f"--dual_clip {begun.dual_clip:g}: as in the older version that started the run", flush=True)
    return begun


@contextmanager
def taken(folder: Path) -> Iterator[None]:
    """`hold_run` for the folder of --out.

    Raises:
        ExperimentError: it cannot be created or written.
        RunBusyError: another command is using it.
    """
    with ExitStack() as held:
        try:
            held.enter_context(hold_run(folder))
        except OSError as error:
            raise cannot_write(folder, error) from None
        yield


def refuse_absent(model: str) -> None:
    """Raise ExperimentError for a model that is not on this machine and cannot be downloaded from the hub."""
    if not is_here(model, fetch=True):
        raise ExperimentError(
            f"--model {model}: not on this machine (a folder with config.json, or the hub's cache) and not available "
            f"from the hub; check the name, HF_TOKEN and the network"
        )


def _launch(
    experiment: Experiment, run: RunDir, *, stall_minutes: float, auto_batch: bool, given: Mapping[str, Any] | None
) -> int:
    if not (run.path / DONE).exists():
        refuse_absent(experiment.model)
    refuse_model(experiment)
    refuse_too_large(experiment)
    _try_overrides(experiment)
    if not (run.path / DONE).exists():
        refuse_small_disk(experiment, run.path)
    files = datafiles.prepared(experiment, ROOT)
    refuse_other_data(run, experiment, files)
    data_check.check_training(experiment, files, fetch=True)
    if experiment.stages == ("alignment",):
        check_machine(training_plan(experiment, run, files))
        _refuse_long_rows(experiment, files, fetch=True)
    refuse_idle_patience(experiment, stages(experiment, run, files))
    if run.experiment.exists() and read_experiment(run.experiment).T < experiment.T:
        for done in (run.path / DONE, run.path / OWN_TEXTS / DONE):
            done.unlink(missing_ok=True)
    write_text(run.experiment, to_yaml(experiment))
    record_data(run, files)
    if given is not None:
        record(run.path, given)
    print(describe(experiment, files), flush=True)
    drop_damaged_copies(run)
    files = datafiles.styled(experiment, files, run.path / "data")
    files = datafiles.narrowed(experiment, files, run.path / "data")
    files = demonstrated(experiment, files, run.path / "data")
    if auto_batch:
        experiment = fitting(experiment, run, files, stall_minutes)
    count_killed(run)
    every = stages(experiment, run, files)
    for number, stage in enumerate(every):
        # A trainer that outlived its supervisor would keep writing.
        end_leftovers_held(stage.folder.path)
        damaged = stage.folder.tidy()
        if lines := damaged_lines(stage.folder.metrics):
            named = ", ".join(map(str, lines))
            print(f"{short(stage.folder.metrics)}: unreadable line(s) skipped: {named}", flush=True)
        if _is_done(stage):
            _tell_damage(stage.folder, damaged)
            continue
        if damaged:
            print(f"{'; '.join(damaged)}; resuming from {_resume_point(stage)}", flush=True)
        stage.folder.republish()
        keep_newest(stage.folder.checkpoints, experiment.keep_checkpoints)
        if _is_finished(experiment, stage):
            write_json(stage.folder.path / DONE, {"time": time.time(), "seconds": 0.0})
            continue
        # Later measurements are of other weights, or are dropped with the metrics of steps that are repeated.
        for later in every[number + 1 :] if not stage.result else ():
            if later.result:
                (later.folder.path / DONE).unlink(missing_ok=True)
        if stage.may_fail:
            # All training is done, so stopping a mere measurement loses nothing of it.
            write_results(experiment, run, files, given, measuring=str(stage.folder.path.relative_to(run.path)))
        begin(run, stage.folder.path)
        if auto_batch:
            attempt = partial(_attempt, run, files, number, stall_minutes)
            outcome, experiment = run_fitting(experiment, attempt, stage.folder.path)
            write_text(run.experiment, to_yaml(experiment))
        else:
            outcome = run_stage(experiment, stage, stall_minutes)
        print(outcome.paragraph, flush=True)
        count(run, outcome.seconds, outcome.peak_rss_bytes)
        if not outcome.exit_code:
            write_json(stage.folder.path / DONE, {"time": time.time(), "seconds": outcome.seconds})
        elif outcome.reason == "interrupted" or not stage.may_fail:
            return outcome.exit_code
    finish(experiment, run, files, given)
    return 0


def is_finished(run: RunDir) -> bool:
    """Whether a run has nothing left to do."""
    return (run.path / DONE).exists() and is_summarised(run)


def _is_done(stage: Stage) -> bool:
    done = (stage.folder.path / DONE).exists()
    return done and (not stage.result or bool(read_json(stage.folder.path / stage.result)))


def _tell_damage(run: RunDir, damaged: list[str]) -> None:
    """Report damage in a finished stage, which is not run again."""
    if damaged:
        print(
            f"{'; '.join(damaged)}; {short(run.path)} is finished and is not run again, but the weights published from "
            f"that step share its files: check {short(run.hf)}",
            flush=True,
        )


def _resume_point(stage: Stage) -> str:
    saved = newest_checkpoint(stage.folder)
    return "the beginning" if saved is None else f"that of step {checkpoint_step(saved)}"


def _is_finished(experiment: Experiment, stage: Stage) -> bool:
    """Whether a stage was killed after its last checkpoint with nothing left to do.

    Other stages export weights after their last checkpoint; restarted, they only do that.
    """
    saved = newest_checkpoint(stage.folder)
    step = None if saved is None else checkpoint_step(saved)
    if not stage.ends_with_checkpoint or step is None:
        return False
    if step >= stage.total_steps or stage.validated is None:
        return step >= stage.total_steps
    return ended(read_metrics(stage.folder.metrics), experiment.early_stopping, stage.validated, step)


def _attempt(run: RunDir, files: DataFiles, number: int, stall_minutes: float, experiment: Experiment) -> Outcome:
    return run_stage(experiment, stages(experiment, run, files)[number], stall_minutes)


def refuse_missing_devices(experiment: Experiment) -> None:
    """Raise ExperimentError for more machines or GPUs than exist; a cluster's cannot be seen from here."""
    if lacking := lacking_devices(experiment):
        raise ExperimentError(lacking)


def lacking_devices(experiment: Experiment) -> str:
    """What machines, GPUs or stack are missing for a start, and what to do; empty if nothing is."""
    cluster = bool(os.environ.get("RAY_ADDRESS"))
    if experiment.nnodes > 1 and not cluster:
        return (
            f"--nnodes {experiment.nnodes}: RAY_ADDRESS names no cluster: run `ray start` on all machines, and this "
            f"command with RAY_ADDRESS=<head>:6379"
        )
    # Supervised and alignment stages use the devices of this machine, in a cluster too.
    elsewhere = experiment.device != "cuda" or ("rl" in experiment.stages and cluster)
    there = experiment.n_gpu if elsewhere else gpu_count()
    if there >= experiment.n_gpu:
        wrong = not elsewhere and installed_vllm() == "cpu"
        return "the installed stack is the one for CPUs: ./install.sh --profile cuda, or --profile cpu" if wrong else ""
    visible = f"this machine has {counted(there, 'visible GPU')}; use fewer, or a profile for this machine (--profile)"
    return f"--n_gpu {experiment.n_gpu}: {visible}"


def refuse_as_started(experiment: Experiment, *, keep: bool) -> None:
    """Raise ExperimentError for whatever a start would refuse of model, own algorithm, data and reward; used before
    earlier runs take hours.

    Args:
        keep: leave the prepared user data where the start would put them, however large; else only read and check.
    """
    _refuse_model(experiment)
    with datafiles.made(experiment, ROOT, keep=keep) as files:
        _refuse_data(experiment, files)


def _refuse_model(experiment: Experiment) -> None:
    refuse_model(experiment)
    refuse_too_large(experiment)
    try_with_torch(experiment)
    _try_overrides(experiment)


def _try_overrides(experiment: Experiment) -> None:
    if not experiment.overrides:
        return
    # It imports verl, which is slow.
    from recipes.verl_plugin.tried import try_overrides

    try_overrides(experiment)


def _refuse_data(experiment: Experiment, files: datafiles.DataFiles) -> None:
    """Raise ExperimentError for what the start would refuse of existing data, or of a few generated problems."""
    if files.generate is None:
        data_check.check_training(experiment, files)
        _refuse_long_rows(experiment, files)
        with data_folder() as folder:
            styled = datafiles.styled(experiment, files, folder)
            with contextlib.redirect_stdout(io.StringIO()):  # it prints counts
                demonstrated(experiment, styled, folder)
        return
    with datafiles.sampled(experiment) as few:
        if few is None:
            data_check.check_own_parts(experiment, ROOT)
        else:
            data_check.check_training(experiment, few)
            _refuse_long_rows(experiment, few)


def _refuse_long_rows(experiment: Experiment, files: datafiles.DataFiles, *, fetch: bool = False) -> None:
    tokenizer = stored_tokenizer(experiment.model, fetch=fetch) if experiment.stages == ("alignment",) else None
    if tokenizer is not None:
        refuse_long_rows(training_plan(experiment, RunDir(ROOT), files), experiment, tokenizer)


def dry_run(experiment: Experiment, out: Path, *, resume: bool = False, full: bool = False) -> str:
    """What `launch` would do: the plan; `full` adds environment, commands and verl's configuration. Starts nothing and
    leaves no files behind.

    Raises:
        ExperimentError: for whatever the start would refuse.
    """
    run = _folder(out, experiment, resume)
    if resume:
        check_folder(run, experiment, resume)
        experiment = _begun(run, experiment)
    _refuse_model(experiment)
    with datafiles.made(experiment, ROOT, keep=False) as files:
        if resume and files.generate is None:
            refuse_other_data(run, experiment, files)
        _refuse_data(experiment, files)
        place = datafiles.locate(experiment, ROOT).train.parent
        described = describe(experiment, files)
        if files.train.parent != place:  # prepared temporarily
            described = described.replace(str(files.train.parent), f"{place} (will be prepared)", 1)
        planned_stages = stages(experiment, run, files)
        refuse_idle_patience(experiment, planned_stages)
        commands = [f"  python {' '.join(stage.command)}" for stage in planned_stages]
        planned = training_plan(experiment, run, files) if experiment.stages == ("alignment",) else None
    if lacking := lacking_devices(experiment):
        described += f"\ndevices:       cannot start here: {lacking}"
    try:
        refuse_small_disk(experiment, run.path)
    except ExperimentError as error:
        described += f"\ndisk:          cannot start here: {error}"
    if not full:
        where = short(run.path)
        return f"{described}\nfolder:        {where}  (--dry_run full: environment, commands, verl's configuration)"
    files = datafiles.locate(experiment, ROOT)
    parts = [described, "\nenvironment:"]
    parts += [f"  {name}={value}" for name, value in environment(experiment, run).items()]
    parts.append("commands:")
    parts += commands
    if planned is not None:
        return "\n".join([*parts, f"{run.path / PLAN_FILE}:", yaml.safe_dump(asdict(planned), sort_keys=False)])
    configure, base = (rl_config, "ppo_trainer") if "rl" in experiment.stages else (sft_config, "sft_trainer_engine")
    config = configure(
        experiment,
        run=run,
        model=absolute(experiment.model),
        train_file=files.train,
        test_file=files.test,
        resume_from=None,
    )
    parts += [f"{run.path / VERL_FILE} (overrides of verl's {base}):", yaml.safe_dump(config, sort_keys=False)]
    return "\n".join(parts)
