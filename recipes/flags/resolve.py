"""From flags to an Experiment: declared defaults and those of algorithm, task and machine, overridden by the user."""

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from data_prep.faults import CustomDataError
from data_prep.files.columns import read_columns
from eval.models import find_model
from recipes.algorithms import Algorithm
from recipes.checks.algorithm_check import find_algorithm
from recipes.checks.experiment_check import check
from recipes.checks.model_check import positions
from recipes.common.errors import ExperimentError, nearest
from recipes.common.machine import gpu_memory_gb
from recipes.common.training_record import model_name, read_record
from recipes.data.stored_template import ends_turns
from recipes.estimate.micro_batch import fits, fitted
from recipes.estimate.model_shapes import config_of, is_tiny
from recipes.flags.effect import SAME_FOR_SFT, refuse_foreign
from recipes.settings.alignment import DataKind, resolve_alignment
from recipes.settings.data_sets import folder_source, hub_set, refuse_unknown, sets_of, several
from recipes.settings.declare import From, declared
from recipes.settings.experiment import Experiment
from recipes.settings.profiles import PROFILES, Profile, detect_profile, for_published, profile_named, share_evenly
from recipes.settings.reward_file import resolved_reward
from recipes.settings.task_options import take_task_options
from recipes.settings.tasks import TASKS, Task


def build_experiment(flags: dict[str, Any], profile: Profile) -> Experiment:
    """Resolve flags over task and profile defaults, and validate the result.

    Args:
        flags: the user's values by field name; None means not given.
        profile: source of the other values.

    Raises:
        ExperimentError: names the flag, the fault and the fix.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    algo = given.pop("algo", "uft")
    algorithm = find_algorithm(algo)
    data = given.pop("data", "countdown")
    refuse_unknown(data, "data")
    validated = several(given["val_data"], "val_data") if "val_data" in given else []
    for where in validated:
        refuse_unknown(where, "val_data")
    refuse_foreign(given, flags)
    model = given.get("model", profile.model_of(data))
    profile = profile if is_tiny(model) else for_published(profile)
    reading = _reading(data, given)
    tasks = [task_of(where) for where in sets_of(data)]
    task = tasks[0]
    kind = _kind_of_rows(data, reading.get("columns", {}))
    for where in validated:
        if (of_set := _kind_of_rows(where, reading.get("columns", {}))) != kind:
            raise ExperimentError(f"--val_data {where}: contains {of_set}, but --data {data} contains {kind}")
    if kind == "problems" and algorithm.stages == ("sft",):
        _supervised(given)
    room = None if "max_length" in given else positions(config_of(model) or {})
    alignment = resolve_alignment(given, algorithm, profile, kind)
    alignment = replace(alignment, max_length=min(alignment.max_length, room or alignment.max_length))
    if (reward := given.get("reward")) is not None:
        given["reward"] = resolved_reward(reward)
    # Steps on answers are smaller and more numerous than in reinforcement.
    usual = 25 if kind == "answers" else min(profile.test_freq, given.get("T", profile.T))
    test_freq = given.get("test_freq", usual)
    ranks = given.get("n_gpu", profile.n_gpu) * given.get("nnodes", 1)
    batch_size, mini_batch_size = share_evenly(profile, given, ranks)
    values = {
        **_declared_defaults(profile, task),
        **_lengths(profile, tasks),
        "algo": str(Path(algo).resolve()) if algo.endswith(".py") else algorithm.name,
        "data": data,
        "data_kind": kind,
        "profile": profile.name,
        "T_hint": min(profile.T_hint, given.get("T", profile.T)),
        "batch_size": batch_size,
        "mini_batch_size": mini_batch_size,
        "test_freq": test_freq,
        "save_freq": test_freq,
        "alignment": alignment,
        "data_options": profile.data_options.get(task.name, {}) if data in TASKS else {},
        "model": model,
        "prompt_style": default_prompt_style(model, task, kind),
        "reward": None,
        **algorithm.settings,
        "options": {name: given.pop(name, default) for name, default in _options(algorithm).items()},
    }
    values["data_options"] = take_task_options(data, values["data_options"], given)
    data_path = given.pop("data_path", None)
    if data_path is not None:
        if data not in TASKS or not task.from_hub:
            raise ExperimentError(f"--data_path {data_path}: only for tasks from the hub (math, others), not {data}")
        values["data_options"] = {**values["data_options"], "source": str(Path(data_path).resolve())}
    if kind != "answers" and reading.keys() - {"columns"}:
        raise ExperimentError(f"--{min(reading.keys() - {'columns'})}: only for a file of scored answers, not {data}")
    values["data_options"] = {**values["data_options"], **reading}
    unknown = sorted(set(given) - set(values))
    if unknown:
        raise ExperimentError(f"{unknown[0]}: no such setting{nearest(unknown[0], values)}")
    values.update(given)
    experiment = Experiment(**values)
    check(experiment)
    if "critic" in algorithm.needs and "rollout_memory" not in given and not fits(experiment):
        # A critic takes as much memory as the policy.
        experiment = replace(experiment, rollout_memory=0.5 * experiment.rollout_memory)
    return fitted(experiment, {name for name, value in flags.items() if value is not None})


def _reading(data: str, given: dict[str, Any]) -> dict[str, Any]:
    """How to read the user's own files; removed from `given`."""
    found: dict[str, Any] = {name: given.pop(name) for name in ("columns", "score_min", "score_max") if name in given}
    wheres = [*sets_of(data), *several(given.get("val_data", data), "val_data")]
    own = [where for where in wheres if where not in TASKS and (Path(where).is_file() or hub_set(where) is not None)]
    if found and not own:
        what = "a file or data set" if "columns" in found else "a file of scored answers"
        raise ExperimentError(f"--{next(iter(found))}: only for {what} of your own, not {data}")
    if "columns" in found:
        found["columns"] = _columns(found["columns"])
    return found


def _columns(words: Sequence[str]) -> dict[str, str]:
    try:
        return read_columns(words)
    except CustomDataError as error:
        raise ExperimentError(str(error)) from None


def task_of(where: str) -> Task:
    """The task whose lengths and prompts apply to a data set."""
    own = Path(where).is_file() or hub_set(where) is not None
    named = TASKS.get(where) or TASKS.get(Path(where).name) or TASKS.get(folder_source(where) or "")
    return named or TASKS["math" if own or folder_source(where) else "countdown"]


def _lengths(profile: Profile, tasks: Sequence[Task]) -> dict[str, Any]:
    """Lengths that fit the longest texts of any of the tasks."""
    names = ("max_prompt_length", "max_hint_length", "max_response_length")
    return {
        name: max(profile.lengths.get(task.name, {}).get(name, getattr(task, name)) for task in tasks) for name in names
    }


def _declared_defaults(profile: Profile, task: Task) -> dict[str, Any]:
    """Defaults that are constants or values of the profile or the task."""
    places = {From.MACHINE: profile, From.TASK: task}
    return {
        name: getattr(places[each.default], name) if isinstance(each.default, From) else each.default
        for name, each in declared(Experiment).items()
        if not isinstance(each.default, From) or each.default in places
    }


def _options(algorithm: Algorithm) -> dict[str, Any]:
    return {} if algorithm.options is None else asdict(algorithm.options())


def _supervised(given: dict[str, Any]) -> None:
    """With a single supervised stage, --lr and --epochs are aliases of the longer names, the UFT repository's."""
    for short, long in SAME_FOR_SFT:
        if short in given:
            given.setdefault(long, given.pop(short))
    if given.get("sft_epochs", 1) != int(given.get("sft_epochs", 1)):
        raise ExperimentError(f"--epochs {given['sft_epochs']}: must be a whole number for training on problems")
    if "sft_epochs" in given:
        given["sft_epochs"] = int(given["sft_epochs"])


def default_prompt_style(model: str, task: Task, kind: DataKind) -> str:
    """The default prompt style.

    chat for conversations; the style that a model trained here was trained with; chat for a model tuned on
    conversations, completion for all others. The name decides for a model not yet on this machine (--dry_run).
    """
    found = read_record(Path(find_model(model)))
    if (style := kept_style(found and found[0].prompt_style, task, kind)) is not None:
        return style
    tuned = ends_turns(model)
    if tuned is None:
        tuned = re.search(r"(?i)(instruct|chat|-it)\b", model_name(model)) is not None
    return "chat" if tuned else "completion"


def kept_style(trained: str | None, task: Task, kind: DataKind) -> str | None:
    """chat for conversations, otherwise the style of training if the task supports it; None: the model decides."""
    if kind == "answers" and not task.evaluated_on:
        return "chat"
    return trained if trained in task.prompt_styles else None


def default_profile(device_count: int, wanted: str | None) -> Profile:
    """The requested profile, or the one for this machine. Raises ExperimentError for an unknown name."""
    if wanted is None:
        return detect_profile(device_count, gpu_memory_gb() if device_count else None)
    try:
        return profile_named(wanted)
    except KeyError:
        raise ExperimentError(
            f"--profile {wanted}: unknown{nearest(wanted, PROFILES)} Known: {', '.join(PROFILES)}, and 4x24gb, 8x40gb, "
            f"... (cards x memory of 24, 40, 48 or 80 GB)."
        ) from None


def kind_of_data(data: str, columns: Sequence[str] | None) -> DataKind:
    """Whether a data set contains problems or answers. columns: from --columns. ExperimentError if unreadable."""
    return _kind_of_rows(data, _columns(columns or ()))


def _kind_of_rows(data: str, columns: dict[str, str]) -> DataKind:
    if data in TASKS:
        return TASKS[data].kind
    # Imported here to keep --help fast.
    from recipes.data.data_kind import kind_of_rows

    return kind_of_rows(data, columns)
