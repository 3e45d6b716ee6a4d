"""--pipeline: training stages in one command, each from the previous one's weights, each with its own data.

python3 run.py --pipeline sft,dpo,grpo --data ultrachat,ultrafeedback,countdown
python3 run.py --pipeline framework          a file in recipes/settings/pipelines/, or your own (path.yaml)
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.reporting.cells import Table, markdown
from recipes.algorithms import AlgorithmFileError, get_algorithm
from recipes.checks.algorithm_check import find_algorithm
from recipes.commands.given import tell_machine
from recipes.commands.train import plan_training, spread
from recipes.common.errors import ExperimentError, nearest
from recipes.common.listed import listed
from recipes.common.machine import gpu_count
from recipes.common.run_dir import RunDir, write_json
from recipes.estimate.machine_needs import disk_bytes, size_text
from recipes.estimate.memory import GB
from recipes.flags.config_file import read_yaml
from recipes.flags.effect import refuse_foreign, refuse_without_effect
from recipes.flags.parser import STAGE_FILES, catalogue
from recipes.flags.resolve import default_profile, kept_style, task_of
from recipes.run.closing import short
from recipes.run.dry_run import dry_run
from recipes.run.hub import refuse_push
from recipes.run.launch import is_finished, launch, taken
from recipes.run.place import refuse_place, refuse_small_disk_of_all, refuse_unwritable
from recipes.run.refuse import refuse_as_started, refuse_missing_devices
from recipes.run.resume import RESUMABLE, nothing_begun, refuse_held, refuse_unknown_run
from recipes.settings.data_sets import sets_of, several
from recipes.settings.declare import Setting, by_name, canonical, declared, from_plain
from recipes.settings.experiment import Experiment
from recipes.settings.modes import FULL, Evaluation, Machine, Mode, Several, Steering
from recipes.settings.presets import PIPELINES
from recipes.settings.tasks import TASKS

SUMMARY = "pipeline.json"

# Settings that differ between stages, so that one value for all would be a mistake.
_OF_ONE_STAGE = ("lr", "batch_size", "epochs", "beta", "mini_batch_size", "micro_batch_size")
_KEYS = {"algo", "data", "flags"}
_OF_ALL = {"algo", "data"} | {
    name for part in (Steering, Machine, Mode, Evaluation, Several) for name in declared(part)
}


@dataclass(frozen=True)
class Step:
    """One stage of a pipeline."""

    name: str
    """Folder name: number and algorithm."""

    flags: dict[str, Any]
    """Its flags in the pipeline."""


def pipeline(text: str, flags: Mapping[str, Any]) -> int:
    """Run the unfinished stages, or describe them with --dry_run; returns the exit code.

    Raises:
        ExperimentError: before anything starts, if a stage cannot work.
    """
    if flags.get("algo") is not None:
        raise ExperimentError(f"--algo {flags['algo']}: has no effect on --pipeline; its stages are algorithms")
    steps = _on_this_machine(steps_of(text, flags), flags)
    for step in steps:
        refuse_foreign(step.flags, step.flags)
    tell_machine({**flags, **steps[0].flags})
    # Plan all stages now, so that mistakes in the last one show immediately.
    given = spread([{**flags, **step.flags} for step in steps], lambda own: plan_training(own)[1])
    plans = _plans(given)
    refuse_without_effect(flags, [experiment for _, experiment in plans])
    for step, (_, experiment) in zip(steps, plans, strict=True):
        refuse_without_effect(step.flags, [experiment])
    steering = plans[0][0]
    first = plans[0][1]
    algos = "+".join(_short(step.flags["algo"]) for step in steps)
    folder = steering.folder(f"{algos}-{Path(first.model).name}-{first.hash}")
    if steering.dry_run:
        refuse_unwritable(folder)
        if steering.push_to_hub:
            refuse_push(steering.push_to_hub)
        _refuse_others(folder, steps, steering.resume)
        full = steering.dry_run == FULL
        for number, (step, (_, experiment)) in enumerate(zip(steps, plans, strict=True)):
            resume = number == 0 and steering.resume and RunDir(folder / step.name).experiment.exists()
            start = experiment.model if number == 0 else f"{folder / steps[number - 1].name}/hf/last"
            told = dry_run(experiment, folder / step.name, resume=resume, full=full)
            print(f"--- {step.name}, from {start}\n{told}\n")
        if (total := sum(disk_bytes(experiment) for _, experiment in plans)) >= GB:
            print(f"--- all {len(steps)} stages\ndisk:          up to {size_text(total)} in {short(folder)}")
            try:
                refuse_small_disk_of_all([experiment for _, experiment in plans], folder)
            except ExperimentError as error:
                print(f"disk:          cannot start here: {error}")
        return 0
    model: str | None = None
    for _, experiment in plans:
        refuse_missing_devices(experiment)
        refuse_as_started(experiment, keep=True)
    if steering.push_to_hub:
        refuse_push(steering.push_to_hub, make=True)
    refuse_place(folder)
    refuse_small_disk_of_all([experiment for _, experiment in plans], folder)
    with taken(folder):
        _refuse_others(folder, steps, steering.resume)
        for step, own, (_, planned) in zip(steps, given, plans, strict=True):
            place = RunDir(folder / step.name)
            code = _train(step, own, planned, place, steering, model, last=step is steps[-1])
            if code:
                return code
            model = str(place.hf / "last")
        _summarise(folder, steps)
    return 0


def _plans(given: Sequence[Mapping[str, Any]]) -> list[tuple[Steering, Experiment]]:
    """Each stage's plan, with the first stage's model and the prompt style it has been trained with by then."""
    plans: list[tuple[Steering, Experiment]] = []
    for own in given:
        own = {**own, "model": plans[0][1].model} if plans else own
        plan = plan_training(own)
        if plans and own.get("prompt_style") is None:
            task = task_of(sets_of(plan[1].data)[0])
            style = kept_style(plans[-1][1].prompt_style, task, plan[1].data_kind)
            if style not in (None, plan[1].prompt_style):
                plan = plan_training({**own, "prompt_style": style})
        plans.append(plan)
    return plans


def _refuse_others(folder: Path, steps: list[Step], resume: bool) -> None:
    refuse_held(folder)
    for place in (folder, *(folder / step.name for step in steps)):
        refuse_unknown_run(RunDir(place))
    begun = [place for place in (folder / step.name for step in steps) if RunDir(place).experiment.exists()]
    if resume and not begun:
        print(nothing_begun(folder), flush=True)
    for place in () if resume else begun:
        refuse_held(place, RESUMABLE)


def _train(
    step: Step,
    flags: Mapping[str, Any],
    planned: Experiment,
    place: RunDir,
    steering: Steering,
    model: str | None,
    *,
    last: bool,
) -> int:
    if is_finished(place):
        print(f"{step.name} is finished", flush=True)
        return 0
    print(f"--- {step.name}", flush=True)
    own = {**flags, "model": model} if model is not None else dict(flags)
    _, experiment = plan_training({**own, "prompt_style": planned.prompt_style})
    resume = steering.resume and place.experiment.exists()
    return launch(
        experiment,
        place.path,
        resume=resume,
        stall_minutes=steering.stall_minutes,
        auto_batch=steering.auto_batch,
        given={name: value for name, value in own.items() if name != "pipeline"},
        # A pipeline's result is its last model.
        push_to_hub=steering.push_to_hub if last else None,
    )


def steps_of(text: str, flags: Mapping[str, Any]) -> list[Step]:
    """The stages in --pipeline.

    Raises:
        ExperimentError: for an unknown name, a file that is not a pipeline, data that do not match the stages, or a
            flag that cannot apply to all stages.
    """
    file = PIPELINES.get(text) or (Path(text) if text.endswith(STAGE_FILES) else None)
    data = flags.get("data")
    if file is None:
        algos = listed(text, "pipeline", distinct=False)
        if len(algos) == 1:
            raise ExperimentError(
                f"--pipeline {text}: not a known pipeline ({', '.join(PIPELINES)}), a file or several "
                f"comma-separated algorithms{nearest(text, PIPELINES)}"
            )
        given: list[dict[str, Any]] = [{"algo": algo} for algo in algos]
    else:
        given = _read(file)
        algos = [each["algo"] for each in given]
    for algo in algos:
        find_algorithm(algo)
    for name in _OF_ONE_STAGE:
        if flags.get(name) is not None:
            raise ExperimentError(
                f"--{name} with --pipeline: each stage needs its own value; write them in a file like "
                f"recipes/settings/pipelines/framework.yaml and give it as --pipeline file.yaml"
            )
    names = several(data, distinct=False) if data else []
    if names and len(names) not in (1, len(algos)):
        raise ExperimentError(f"--data {data}: {len(names)} names for {len(algos)} stages; give one, or one per stage")
    found = []
    for number, each in enumerate(given):
        typed = {name for name, value in flags.items() if value is not None}
        of_file = {name: value for name, value in each.get("flags", {}).items() if name not in typed}
        own = {"algo": each["algo"], "data": each.get("data"), **of_file}
        if flags.get("load_in_4bit") and _is_reinforcement(each["algo"]):
            # A flag for all stages applies to those that support it.
            own.setdefault("load_in_4bit", None)
        if names:
            own["data"] = names[number] if len(names) > 1 else _fitting(names[0], each["algo"])
        found.append(Step(f"{number + 1}-{_short(each['algo'])}", own))
    return found


def _on_this_machine(steps: list[Step], flags: Mapping[str, Any]) -> list[Step]:
    """The stages, without a file's 4 or 8 bits on a machine without a GPU; reports each change."""
    if default_profile(gpu_count(), flags.get("profile")).device == "cuda":
        return steps
    found = []
    for step in steps:
        idle = [name for name in ("load_in_4bit", "load_in_8bit") if step.flags.get(name)]
        for name in idle:
            print(f"{step.name}: without {name}, which needs a GPU")
        found.append(Step(step.name, {name: value for name, value in step.flags.items() if name not in idle}))
    return found


def _short(algo: str) -> str:
    """An algorithm's name in folder names."""
    return Path(algo).stem if algo.endswith(".py") else algo


def _fitting(data: str, algo: str) -> str:
    """A stage's data if --data is one name: reinforcement on a set of answers uses the task of its verifier."""
    task = TASKS.get(data)
    return task.evaluated_on if task is not None and task.evaluated_on and _is_reinforcement(algo) else data


def _is_reinforcement(algo: str) -> bool:
    try:
        return "rl" in get_algorithm(algo).stages
    except (KeyError, AlgorithmFileError):
        # Refused when the stage is resolved.
        return False


def _read(file: Path) -> list[dict[str, Any]]:
    steps = read_yaml(file, "pipeline")
    if not isinstance(steps, list) or len(steps) < 1:
        raise ExperimentError(f"--pipeline {file}: must be a list of stages, each with algo, data and flags")
    found = []
    for number, step in enumerate(steps):
        where = f"--pipeline {file}, stage {number + 1}"
        if not isinstance(step, dict) or "algo" not in step or not step.keys() <= _KEYS:
            raise ExperimentError(f"{where}: needs algo; only data and flags may be added")
        flags = step.get("flags") or {}
        if not isinstance(flags, dict):
            raise ExperimentError(f"{where}: flags must map names to values, such as {{lr: 1e-5}}")
        what = {name: _value(catalogue()[name], step[name], f"{where}: {name}") for name in step.keys() - {"flags"}}
        found.append({**what, "flags": _values(flags, what["algo"], where)})
    return found


def _value(setting: Setting, value: Any, where: str) -> Any:
    try:
        return from_plain(setting, value)
    except ValueError as error:
        raise ExperimentError(f"{where}: {error}") from None


def _values(flags: Mapping[str, Any], algo: str, where: str) -> dict[str, Any]:
    """A stage's flags, parsed as on the command line."""
    known = by_name({name: each for name, each in catalogue(algo).items() if name not in _OF_ALL})
    found = {}
    for name, value in flags.items():
        setting = known.get(canonical(str(name)))
        if setting is None:
            raise ExperimentError(f"{where}: {name}: not a flag of stages{nearest(str(name), known)}")
        found[setting.name] = _value(setting, value, f"{where}: {name}")
    return found


def _summarise(folder: Path, steps: list[Step]) -> None:
    rows = []
    for step in steps:
        summary = json.loads(RunDir(folder / step.name).summary.read_text(encoding="utf-8"))
        rows.append({"stage": step.name, **summary})
    write_json(folder / SUMMARY, rows)
    columns = ("stage", "data", "val/acc before", "val/acc last", "seconds")
    cells = [tuple("" if row.get(name) is None else _cell(row[name]) for name in columns) for row in rows]
    print("\n" + markdown(Table(columns, tuple(cells))), flush=True)


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
