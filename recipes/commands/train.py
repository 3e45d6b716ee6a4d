"""run.py without a mode: from flags to one training run. Flags are values by field name; None means not given."""

import io
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import replace
from typing import Any

from recipes import ROOT
from recipes.checks.experiment_check import refuse_training
from recipes.commands.given import refuse_given, steering_of, tell_machine, weights_of
from recipes.common.errors import ExperimentError
from recipes.common.numbered import counted
from recipes.common.run_dir import RunDir
from recipes.data import datafiles
from recipes.flags.effect import each_its_own, refuse_without_effect, without_effect, without_use
from recipes.flags.resolve import build_experiment
from recipes.run.build_stages import training_plan
from recipes.run.dry_run import dry_run
from recipes.run.hub import refuse_push
from recipes.run.launch import launch
from recipes.run.place import refuse_unwritable
from recipes.run.resume import check_folder
from recipes.run.stages import stage_overrides
from recipes.settings.declare import declared
from recipes.settings.experiment import Experiment
from recipes.settings.modes import FULL, Evaluation, Several, Steering
from recipes.settings.profiles import Profile
from recipes.settings.task_options import takes
from recipes.settings.tasks import TASKS
from recipes.trl_plugin.plan import count_rows


def train(flags: dict[str, Any], from_file: Sequence[str] = ()) -> int:
    """Train; returns the exit code.

    Args:
        from_file: flags from a file; those that do not apply to the chosen algorithm are dropped.
    """
    tell_machine(flags)
    idle = without_use(flags, from_file)
    flags = {**flags, **dict.fromkeys(idle)}
    untaken = _untaken(flags, from_file)
    flags |= {"overrides": tuple(each for each in flags.get("overrides") or () if each not in untaken) or None}
    steering, experiment = plan_training(flags)
    also = [name for name in without_effect(flags, experiment) if name in from_file]
    if also:
        flags = {**flags, **dict.fromkeys(also)}
        steering, experiment = plan_training(flags)
    if idle or also or untaken:
        on = f" on {experiment.data}" if any(not takes(experiment.data, name) for name in idle) else ""
        named = ", ".join([*idle, *also, *untaken])
        print(f"ignored from --config, no effect on {experiment.algorithm.name}{on}: {named}")
    refuse_without_effect(flags, [experiment])
    folder = steering.folder(experiment.default_name)
    if steering.dry_run:
        refuse_unwritable(folder)
        check_folder(RunDir(folder), experiment, steering.resume)
        if steering.push_to_hub:
            refuse_push(steering.push_to_hub)
        full = steering.dry_run == FULL
        print(dry_run(experiment, folder, resume=steering.resume, full=full))
        return 0
    return launch(
        experiment,
        folder,
        resume=steering.resume,
        stall_minutes=steering.stall_minutes,
        auto_batch=steering.auto_batch,
        given=flags,
        push_to_hub=steering.push_to_hub,
    )


def _untaken(flags: Mapping[str, Any], from_file: Sequence[str]) -> list[str]:
    """A file's overrides that no stage accepts, when the command line replaces its algorithm or data."""
    given = [each for each in flags.get("overrides") or () if each in from_file]
    if not given or not any(flags[name] is not None and name not in from_file for name in ("algo", "data")):
        return []
    _, experiment = plan_training({**flags, "overrides": None})
    return [each for each in given if not _is_taken(experiment, each)]


def _is_taken(experiment: Experiment, override: str) -> bool:
    try:
        stage_overrides(replace(experiment, overrides=(override,)))
    except ExperimentError:
        return False
    return True


def plan_training(flags: Mapping[str, Any]) -> tuple[Steering, Experiment]:
    """How and what to train. Raises ExperimentError if it cannot work."""
    refuse_given(flags, declared(Evaluation), "belongs to --eval; training validates one greedy answer per problem")
    refuse_given(flags, declared(Several), "belongs to --sweep and --reproduce")
    steering, rest = steering_of({name: value for name, value in flags.items() if name not in declared(Evaluation)})
    if rest["model"] is not None:
        rest["model"] = _full_weights(rest["model"])
    experiment = build_experiment(rest, steering.profile)
    refuse_training(experiment)
    tell_sizes(experiment, rest, steering.profile)
    experiment = fit_batch(experiment, rest, steering)
    # On the CPU, devices are processes, which would have to share cores.
    cores = max(2, os.cpu_count() or 1)
    if experiment.device == "cpu" and experiment.n_gpu > cores:
        raise ExperimentError(
            f"--n_gpu {experiment.n_gpu}: this machine has {cores} cores; on the CPU each device needs one"
        )
    if steering.auto_batch and experiment.device == "cpu":
        raise ExperimentError("--auto_batch: only for GPUs that run out of memory; this run is on the CPU")
    stage_overrides(experiment)
    return steering, experiment


def spread(
    runs: Sequence[Mapping[str, Any]], experiment_of: Callable[[Mapping[str, Any]], Experiment]
) -> list[dict[str, Any]]:
    """The flags of several runs or stages, each with only the options and overrides it accepts.

    Raises:
        ExperimentError: for an override that none of them accepts.
    """
    runs = each_its_own(runs)
    given = next((run["overrides"] for run in runs if run.get("overrides")), ())
    if not given:
        return runs
    experiments = [experiment_of({**run, "overrides": None}) for run in runs]
    kept: list[list[str]] = [[] for _ in runs]
    for override in given:
        refusals = []
        for mine, experiment in zip(kept, experiments, strict=True):
            try:
                stage_overrides(replace(experiment, overrides=(override,)))
                mine.append(override)
            except ExperimentError as error:
                refusals.append(error)
        if len(refusals) == len(runs):
            raise refusals[-1]
    return [{**run, "overrides": tuple(mine) or None} for run, mine in zip(runs, kept, strict=True)]


def fit_batch(experiment: Experiment, flags: Mapping[str, Any], steering: Steering) -> Experiment:
    """The experiment with a batch that the user's own data can fill, if no batch size was given."""
    given = any(flags.get(name) is not None for name in ("batch_size", "mini_batch_size", "micro_batch_size"))
    if given or (experiment.data in TASKS and not experiment.val_data):
        return experiment
    if steering.dry_run and datafiles.has_many_rows(experiment):  # avoid reading them twice
        return experiment
    with ExitStack() as held:
        if steering.dry_run:  # the dry run prints the same messages again
            held.enter_context(redirect_stdout(io.StringIO()))
        files = held.enter_context(datafiles.made(experiment, ROOT, keep=not steering.dry_run))
        if files.generate is not None:
            return experiment
        answers = experiment.data_kind == "answers"
        rows = count_rows(training_plan(experiment, RunDir(ROOT), files)) if answers else files.n_train
    usual = experiment.alignment.batch_size if answers else experiment.batch_size
    ranks = experiment.n_gpu * experiment.nnodes
    size = rows // ranks * ranks
    if rows >= usual or size < 1:
        return experiment
    print(f"--batch_size {size}: {experiment.data} has only {counted(rows, 'example')} to train on (default: {usual})")
    return build_experiment({**flags, "batch_size": size}, steering.profile)


def tell_sizes(experiment: Experiment, flags: Mapping[str, Any], profile: Profile) -> None:
    """Report sizes of training on answers that differ from the usual defaults because of devices or their memory."""
    e, rank = experiment, experiment.lora_rank
    if e.stages != ("alignment",):
        return
    size, each = e.alignment.batch_size, flags.get("micro_batch_size")
    if flags.get("batch_size") is None and (each or 1) * e.n_gpu > 1:
        usual = build_experiment({**flags, "n_gpu": 1, "micro_batch_size": None}, profile).alignment.batch_size
        if size != usual:
            rows = f"--micro_batch_size {each} times " if each else ""
            print(f"--batch_size {size}: the default {usual} is not a multiple of {rows}{counted(e.n_gpu, 'device')}")
    if flags.get("lora_rank") is None and rank != profile.lora_rank:
        print(f"--lora_rank {rank}: all weights of {e.model} do not fit on a device of --profile {e.profile}")


def _full_weights(model: str) -> str:
    weights = weights_of(model)
    if weights.adapter:
        raise ExperimentError(
            f"--model {model} is an adapter of {weights.path}; merge it first, or train from the base model"
        )
    return weights.path
