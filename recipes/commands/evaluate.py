"""run.py --eval: from flags to what is evaluated and how. Flags are values by field name; None means not given."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.metrics import chosen_ks
from eval.models import chosen_weights, find_model
from recipes.commands import eval_parts
from recipes.commands.given import or_default, refuse_given, steering_of, tell_machine, weights_of
from recipes.common.errors import ExperimentError
from recipes.common.training_record import TrainingRecord, model_name, read_record
from recipes.data.stored_template import ends_turns
from recipes.flags.effect import each_its_own, foreign
from recipes.flags.parser import catalogue
from recipes.flags.resolve import build_experiment, kind_of_data
from recipes.run.stages import Sampling
from recipes.run.suites import Part, parts_of
from recipes.settings.data_sets import hub_set, refuse_unknown
from recipes.settings.declare import declared
from recipes.settings.experiment import Experiment
from recipes.settings.modes import Evaluation, Several
from recipes.settings.tasks import TASKS

_DRAWING = ("n_samples", "top_p", "k")


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
    refuse_given(flags, declared(Several), "belongs to --sweep and --reproduce")
    refuse_given(flags, idle, "belongs to training; it has no effect on --eval")
    if flags.pop("overrides", None):
        raise ExperimentError("key=value after -- is for verl's trainers, which --eval does not use; use its flags")
    for task in tasks:
        refuse_unknown(task, "data")
        if kind_of_data(task, flags["columns"]) == "answers":
            instead = TASKS[task].evaluated_on if task in TASKS else None
            better = f"; evaluate on the problems of --data {instead}" if instead else ""
            raise ExperimentError(f"--data {task}: contains answers; evaluations need problems{better}")
    if all(part.harness for part in parts):
        refuse_given(
            flags, (*_DRAWING, "temperature"), "has no effect on lm-evaluation-harness's suites, which fix sampling"
        )
    sampling = _sampling(flags)
    tell_machine(flags)
    steering, flags = steering_of(flags)
    weights = weights_of(flags["model"] or steering.profile.model_of(flags["data"]))
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
        eval_parts.check(experiments, sampling, folder)
        print(f"evaluates {', '.join(part.name for part in experiments)}, {sampling}, into {folder}")
        return 0
    return eval_parts.evaluate(experiments, weights, sampling, folder, stall_minutes=steering.stall_minutes)


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


def copy_of(part: Part, data_path: str | None) -> str | None:
    """The local copy of a part's data: the folder with its name in --data_path if it exists, else --data_path."""
    own = Path(data_path or "", part.data)
    return str(own) if data_path is not None and own.is_dir() else data_path


def _sampling(flags: dict[str, Any]) -> Sampling:
    n_samples, top_p = (or_default(flags.pop(name), declared(Evaluation)[name]) for name in ("n_samples", "top_p"))
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
