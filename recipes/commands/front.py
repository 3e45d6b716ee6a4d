"""run.py's modes train and --eval. Flags are values by field name; None means not given."""

import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.metrics import chosen_ks
from eval.models import ModelError, Weights, chosen_weights, find_model, resolve_model
from recipes import ROOT
from recipes.checks.experiment_check import refuse_training
from recipes.commands import evaluation
from recipes.common.errors import ExperimentError
from recipes.common.machine import gpu_count
from recipes.common.numbered import counted
from recipes.common.run_dir import RunDir
from recipes.common.training_record import TrainingRecord, model_name, read_record
from recipes.data import datafiles
from recipes.data.stored_template import ends_turns
from recipes.flags.effect import each_its_own, foreign, refuse_without_effect, without_effect, without_use
from recipes.flags.parser import catalogue
from recipes.flags.resolve import build_experiment, default_profile, kind_of_data
from recipes.run.build_stages import training_plan
from recipes.run.dry_run import dry_run
from recipes.run.hub import refuse_push
from recipes.run.launch import launch
from recipes.run.place import refuse_unwritable
from recipes.run.resume import check_folder
from recipes.run.stages import Sampling, stage_overrides
from recipes.run.suites import Part, parts_of
from recipes.settings.data_sets import hub_set, refuse_unknown
from recipes.settings.declare import Setting, declared
from recipes.settings.experiment import Experiment
from recipes.settings.modes import FULL, Evaluation, Several, Steering
from recipes.settings.profiles import Profile
from recipes.settings.task_options import takes
from recipes.settings.tasks import TASKS
from recipes.trl_plugin.plan import count_rows

_STEERING = declared(Steering)
_DRAWING = ("n_samples", "top_p", "k")


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
    _refuse(flags, declared(Evaluation), "belongs to --eval; training validates one greedy answer per problem")
    _refuse(flags, declared(Several), "belongs to --sweep and --reproduce")
    steering, rest = _steering({name: value for name, value in flags.items() if name not in declared(Evaluation)})
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


def evaluate(flags: dict[str, Any], from_file: Sequence[str] = ()) -> int:
    """Evaluate --model on everything in --data; returns the exit code.

    Args:
        from_file: flags from a file; those that evaluations do not use are dropped.
    """
    evaluates = {"overrides", *(name for name, each in catalogue().items() if each.evaluates)}
    idle = [name for name, value in flags.items() if value is not None and name not in evaluates]
    data = flags["data"] or "countdown"
    parts = parts_of(data, flags.pop("skip"))
    tasks = ["others" if part.harness else part.data for part in parts]
    useless = set.intersection(*(set(foreign(flags, None, task)) for task in tasks)) - {"data_path"}
    if left := [name for name in flags if name in from_file and name in {*idle, *useless}]:
        print(f"ignored from --config, no effect on --eval: {', '.join(left)}")
        flags |= dict.fromkeys(left)
    flags |= {"overrides": [each for each in flags.get("overrides") or () if each not in from_file]}
    _refuse(flags, declared(Several), "belongs to --sweep and --reproduce")
    _refuse(flags, idle, "belongs to training; it has no effect on --eval")
    if flags.pop("overrides", None):
        raise ExperimentError("key=value after -- is for verl's trainers, which --eval does not use; use its flags")
    for task in tasks:
        refuse_unknown(task, "data")
        if kind_of_data(task, flags["columns"]) == "answers":
            instead = TASKS[task].evaluated_on if task in TASKS else None
            better = f"; evaluate on the problems of --data {instead}" if instead else ""
            raise ExperimentError(f"--data {task}: contains answers; evaluations need problems{better}")
    if all(part.harness for part in parts):
        _refuse(
            flags, (*_DRAWING, "temperature"), "has no effect on lm-evaluation-harness's suites, which fix sampling"
        )
    sampling = _sampling(flags)
    tell_machine(flags)
    steering, flags = _steering(flags)
    weights = _weights(flags["model"] or steering.profile.model_of(flags["data"]))
    by_default = " (the base model; no --model given)" if flags["model"] is None else ""
    print(f"weights: {chosen_weights(weights)}{by_default}")
    data_path = flags.pop("data_path")
    experiments: dict[Part, Experiment] = {}
    place = Path(weights.adapter or find_model(weights.path))
    recorded = read_record(place)
    loaded = [part for part in parts if part.harness or (part.data in TASKS and TASKS[part.data].from_hub)]
    if data_path is not None and not loaded:
        raise ExperimentError(f"--data_path {data_path}: nothing in --data {data} comes from the hub")
    # The harness has its own data and prompts; lengths and seed come from the benchmarks' task.
    given = [{**flags, "model": weights.path, "data": task} for task in tasks]
    for part, of_part in zip(parts, each_its_own(given), strict=True):
        if part in loaded:
            of_part["data_path"] = copy_of(part, data_path)
            if not part.harness and data_path is None and (why := TASKS[part.data].needs_copy):
                raise ExperimentError(f"--data {part.data}: {why}, and give the copy as --data_path")
        if recorded is not None and not part.harness:
            of_part |= _as_trained(recorded[0], of_part)
        if not part.harness and hub_set(part.data) is not None:
            of_part["val_data"] = part.data  # the hub's test split, or the named split
        experiments[part] = build_experiment(of_part, steering.profile)
    for style in dict.fromkeys(each.prompt_style for part, each in experiments.items() if not part.harness):
        print(f"prompt style: {style} ({_why(style, flags['prompt_style'], recorded, str(place))})")
    first = next(iter(experiments.values()))
    name = Path(flags["model"] or first.model).name
    named = data.replace(",", "+").replace("/", "_").replace(":", "-")
    folder = steering.folder(f"eval-{name}-{named}-{first.hash}{sampling.suffix}")
    if steering.dry_run:
        evaluation.check(experiments, sampling, folder)
        print(f"evaluates {', '.join(part.name for part in experiments)}, {sampling}, into {folder}")
        return 0
    return evaluation.evaluate(experiments, weights, sampling, folder, stall_minutes=steering.stall_minutes)


def _as_trained(record: TrainingRecord, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that an evaluation takes from training unless flags override them: the prompt style and, on the training
    data, the lengths, so that greedy answers equal those of training's validation."""
    found: dict[str, Any] = {}
    task = TASKS.get(flags["data"])
    if task is None or record.prompt_style in task.prompt_styles:
        found["prompt_style"] = record.prompt_style
    if flags["data"] == record.data or (task is None and str(Path(flags["data"]).resolve()) == record.data):
        found |= {name: getattr(record, name) for name in ("max_prompt_length", "max_response_length")}
    return {name: value for name, value in found.items() if flags[name] is None}


def _why(style: str, given: str | None, recorded: tuple[TrainingRecord, Path] | None, model: str) -> str:
    if given is not None:
        return "--prompt_style"
    if recorded is not None and recorded[0].prompt_style == style:
        return f"how the model was trained: {recorded[1]}"
    if ends_turns(model) is None:
        return f"guessed from the name {model_name(model)}, as the model is not here; --prompt_style sets it"
    turns = "ends answers as its chat template ends turns" if style == "chat" else "was not tuned on conversations"
    return f"according to its tokenizer, the model {turns}; --prompt_style sets it"


def _refuse(flags: Mapping[str, Any], names: Iterable[str], why: str) -> None:
    for name in names:
        if flags.get(name) is not None:
            raise ExperimentError(f"--{name} {why}")


def tell_machine(flags: Mapping[str, Any]) -> None:
    """Report the defaults chosen for this machine."""
    if flags["model"] is None and flags["profile"] is None:
        profile = default_profile(gpu_count(), None)
        model = profile.model_of(flags["data"])
        print(f"no --model and no --profile given: {model} on profile {profile.name} ({profile.title})")


def _steering(flags: dict[str, Any]) -> tuple[Steering, dict[str, Any]]:
    rest = {name: value for name, value in flags.items() if name not in _STEERING and name not in declared(Several)}
    profile = default_profile(gpu_count(), flags["profile"])
    given = {name: _or_default(flags[name], each) for name, each in _STEERING.items()}
    return Steering(**{**given, "profile": profile}), rest


def _or_default(value: Any, setting: Setting) -> Any:
    return setting.default if value is None else value


def copy_of(part: Part, data_path: str | None) -> str | None:
    """The local copy of a part's data: the folder with its name in --data_path if it exists, else --data_path."""
    own = Path(data_path or "", part.data)
    return str(own) if data_path is not None and own.is_dir() else data_path


def _sampling(flags: dict[str, Any]) -> Sampling:
    n_samples, top_p = (_or_default(flags.pop(name), declared(Evaluation)[name]) for name in ("n_samples", "top_p"))
    temperature = flags.pop("temperature")
    if n_samples > 1 and temperature == 0:
        raise ExperimentError(f"--n_samples {n_samples} with --temperature 0 would give the same answer every time")
    chosen = temperature if temperature is not None else (1.0 if n_samples > 1 else 0.0)
    if top_p < 1 and chosen == 0:
        raise ExperimentError(f"--top_p {top_p}: answers are greedy; add --temperature or --n_samples")
    k = flags.pop("k")
    try:
        ks = None if k is None else chosen_ks(k, n_samples)
    except ValueError as error:
        raise ExperimentError(f"--k {error}") from None
    return Sampling(n_samples, chosen, top_p, ks)


def _weights(model: str) -> Weights:
    try:
        return resolve_model(model)
    except ModelError as error:
        raise ExperimentError(str(error)) from None


def _full_weights(model: str) -> str:
    weights = _weights(model)
    if weights.adapter:
        raise ExperimentError(
            f"--model {model} is an adapter of {weights.path}; merge it first, or train from the base model"
        )
    return weights.path
