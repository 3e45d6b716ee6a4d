"""Runs an Experiment: prepares data, runs the stages in order under the watchdog, writes the summary."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from recipes import ROOT
from recipes.checks.model_check import refuse_model
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
from recipes.data import copies, data_check, datafiles
from recipes.data.datafiles import DataFiles
from recipes.data.demonstrations import demonstrated
from recipes.estimate.machine_needs import refuse_too_large
from recipes.flags.config_file import record
from recipes.run.auto_batch import fitting, run_fitting
from recipes.run.build_stages import refuse_idle_patience, stages, training_plan
from recipes.run.closing import finish, is_summarised, short, write_results
from recipes.run.hub import push, refuse_push
from recipes.run.place import cannot_write, refuse_place, refuse_small_disk
from recipes.run.plan import describe
from recipes.run.refuse import check_overrides, refuse_absent, refuse_cut_rows, refuse_missing_devices
from recipes.run.resume import begun, check_folder, drop_damaged_copies, folder_of, record_data, refuse_other_data
from recipes.run.run_stage import Stage, run_stage, shared_imports
from recipes.run.spent import begin, count, count_killed
from recipes.run.stages import OWN_TEXTS, newest_checkpoint
from recipes.settings.early_stopping import ended
from recipes.settings.experiment import Experiment
from recipes.settings.saved import read_experiment, to_yaml
from recipes.trl_plugin.plan import check_machine
from recipes.watch.processes import end_leftovers_held, hold_run
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
    run = folder_of(out, experiment, resume)
    # Lock first, then write: a refused command must not change anything of a run in progress.
    with taken(run.path), shared_imports(experiment.device):
        check_folder(run, experiment, resume)
        experiment = begun(run, experiment)
        if push_to_hub:
            refuse_push(push_to_hub, make=True)
        code = _launch(experiment, run, stall_minutes=stall_minutes, auto_batch=auto_batch, given=given)
        if push_to_hub and not code:
            print(f"on the hub     {push(run, push_to_hub)}", flush=True)
        return code


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


def _launch(
    experiment: Experiment, run: RunDir, *, stall_minutes: float, auto_batch: bool, given: Mapping[str, Any] | None
) -> int:
    if not (run.path / DONE).exists():
        refuse_absent(experiment.model)
    refuse_model(experiment)
    refuse_too_large(experiment)
    check_overrides(experiment)
    if not (run.path / DONE).exists():
        refuse_small_disk(experiment, run.path)
    files = datafiles.prepared(experiment, ROOT)
    refuse_other_data(run, experiment, files)
    data_check.check_training(experiment, files, fetch=True)
    if experiment.stages == ("alignment",):
        check_machine(training_plan(experiment, run, files))
        refuse_cut_rows(experiment, files, fetch=True)
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
    files = copies.styled(experiment, files, run.path / "data")
    files = copies.narrowed(experiment, files, run.path / "data")
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
