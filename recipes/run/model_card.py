"""The model card of published weights: base model, method, data and results."""

import importlib.metadata
import platform
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.schema import content_hash
from eval.models import find_model
from recipes.common.run_dir import RunDir, read_json, read_metrics, write_text
from recipes.common.training_record import read_record
from recipes.common.values import as_text
from recipes.data.datafiles import DataFiles
from recipes.flags.effect import SAME_FOR_SFT
from recipes.flags.parser import arguments
from recipes.settings.alignment import Alignment
from recipes.settings.declare import declared
from recipes.settings.experiment import Experiment
from recipes.settings.tasks import TASKS

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCard

CARD = "README.md"

_LIBRARIES = ("verl", "vllm", "trl", "transformers", "peft", "accelerate", "torch", "ray")
_OF_TRL = ("trl", "accelerate")
_OF_VERL = ("verl", "vllm", "ray")
# Stated elsewhere in the card, or without effect on the weights.
_OMITTED = {
    *("algo", "data", "model", "seed", "logger", "project", "run_name", "log_rollouts", "keep_checkpoints"),
    *("save_freq", "allow_overlap", "own_texts", "rollout_memory", "max_num_seqs", "tokens_per_micro_batch"),
    *("max_reward_error_rate", "max_timeout_rate", "max_parse_fail_rate", "parse_fail_steps", "tp_size"),
    *("n_gpu", "nnodes", "rollout_seeds", "hf_dtype"),
}
_LONGEST = 80


def write_cards(
    experiment: Experiment, run: RunDir, files: DataFiles, summary: Mapping[str, Any], given: Mapping[str, Any]
) -> None:
    """Write a card into every folder of weights of a finished run.

    Args:
        summary: the contents of summary.json.
        given: the flags of the run.
    """
    for folder in (run.hf / "last", run.hf / "best", run.hf / "adapter"):
        if folder.is_dir():
            card = model_card(experiment, run, files, summary, given, kind=folder.name)
            write_text(folder / CARD, str(card))


def model_card(
    experiment: Experiment,
    run: RunDir,
    files: DataFiles,
    summary: Mapping[str, Any],
    given: Mapping[str, Any],
    *,
    kind: str,
) -> "ModelCard":
    """The card of hf/`kind` (last, best or adapter)."""
    from huggingface_hub import ModelCard, ModelCardData

    e = experiment
    about, base = e.algorithm, _base(e.model)
    hub = base if _is_hub_name(base) else None
    of = f"LoRA adapter of {Path(base).name}" if kind == "adapter" else Path(base).name
    title = f"{of} after {about.name}"
    data = ModelCardData(
        base_model=hub,
        library_name="peft" if kind == "adapter" else "transformers",
        pipeline_tag="text-generation",
        tags=[about.name, *e.stages],
        model_name=title,
        eval_results=_results(e, summary),
    )
    step = read_json(run.hf / "best.json").get("step")
    which = "The last step of the run. " if step is None else f"Step {step}: the most accurate of those saved. "
    best = which if kind == "best" else ""
    adapter = "The LoRA adapter alone; its base is named in the table. " if kind == "adapter" else ""
    facts = {
        "base model": _model(base),
        "started from": "" if base == e.model else _model(e.model),
        "algorithm": f"`{about.name}`: {about.title}",
        "paper": re.sub(r"arXiv (\d{4}\.\d{5})", r"[arXiv \1](https://arxiv.org/abs/\1)", about.paper),
        "data": _data(e, files),
        "accuracy": _accuracy(summary),
        "time": f"{summary['seconds'] / 60:.1f} min on {e.n_gpu * e.nnodes} {e.device} device(s)",
        "tokens": f"{summary['tokens trained']:,} trained on, {summary['tokens generated']:,} generated",
        "configuration": f"{e.hash}, seed {e.seed}",
        "versions": _versions(e),
    }
    lines = [f"---\n{data.to_yaml()}\n---", f"\n# {title}\n", f"{best}{adapter}Trained with:\n", "```bash"]
    lines += [command(given), "```\n", *_table(("", ""), facts), *_validations(run)]
    lines += ["\n## Settings\n", *_table(("setting", "value"), _settings(e))]
    return ModelCard("\n".join(lines) + "\n")


def command(given: Mapping[str, Any]) -> str:
    """A run's command line, without flags for output folder and resuming; paths elsewhere on the machine are reduced to
    names."""
    kept = {name: value for name, value in given.items() if name not in ("out", "idx", "resume", "push_to_hub")}
    flags = {name: _named(value) if isinstance(value, str) else value for name, value in kept.items()}
    return shlex.join(["python3", "run.py", *arguments(flags)])


def _named(text: str) -> str:
    """A flag's text, with every path from the root (or the home folder) reduced to its last part."""
    return re.sub(r"(?:(?<=[,=])|^)[/~][^,]*", lambda path: Path(path[0]).name, text)


def _is_hub_name(model: str) -> bool:
    """Whether it is a model name on the hub, which rejects cards with any other base_model."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if Path(find_model(model)).exists():
        return False
    try:
        validate_repo_id(model)
    except HFValidationError:
        return False
    return True


def _base(model: str) -> str:
    """The base model from before all of our recorded training runs."""
    found = read_record(Path(model)) if Path(model).is_dir() else None
    return model if found is None else found[0].base_model


def _short(model: str) -> str:
    """A hub name unchanged; the last parts of a folder's path, which reveal nothing about the machine."""
    path = Path(model)
    return "/".join(path.parts[-3:]) if path.is_absolute() else model


def _model(model: str) -> str:
    """A name on the hub or in this repository unchanged; for any other folder only its name."""
    return f"{Path(model).name} (a local folder)" if Path(model).is_absolute() else model


def _data(experiment: Experiment, files: DataFiles) -> str:
    name = experiment.data if experiment.data in TASKS else Path(experiment.data).name
    options = ", ".join(f"{key} {_value(value)}" for key, value in experiment.data_options.items() if key != "source")
    rows = f"{files.n_train} rows, sha256 {content_hash(files.train)}" if files.train.exists() else ""
    return "; ".join(part for part in (name, options, rows) if part)


def _accuracy(summary: Mapping[str, Any]) -> str:
    before, last = summary["val/acc before"], summary["val/acc last"]
    if last is None:
        return ""
    return f"{last:.1%} at the end" if before is None else f"{before:.1%} before, {last:.1%} after"


def _results(experiment: Experiment, summary: Mapping[str, Any]) -> "list[EvalResult] | None":
    from huggingface_hub import EvalResult

    if summary["val/acc last"] is None:
        return None
    data = experiment.data if experiment.data in TASKS else Path(experiment.data).name
    metric = {"metric_type": "accuracy", "metric_name": "accuracy", "metric_value": summary["val/acc last"]}
    return [EvalResult(task_type="text-generation", dataset_type=data, dataset_name=data, **metric)]


def _versions(experiment: Experiment) -> str:
    idle = _OF_VERL if experiment.stages == ("alignment",) else _OF_TRL
    names = [name for name in _LIBRARIES if name not in idle]
    return ", ".join([f"Python {platform.python_version()}", *(f"{n} {importlib.metadata.version(n)}" for n in names)])


def _settings(experiment: Experiment) -> dict[str, str]:
    """Every setting that affects the trained weights."""
    e = experiment
    values = {name: getattr(e, name) for name in declared(Experiment)}
    of_answers = asdict(e.alignment)
    values = {**values, **of_answers} if e.stages == ("alignment",) else {**of_answers, **values}
    # For a single supervised stage the longer names are the ones in effect.
    idle = {short for short, _ in SAME_FOR_SFT} if e.stages == ("sft",) else set()
    shown = {**declared(Alignment), **declared(Experiment)}
    kept = {
        name: value
        for name, value in values.items()
        if shown[name].flag and shown[name].applies(e.algorithm, e.stages) and name not in _OMITTED | idle
    }
    found = {name: _value(value) for name, value in {**kept, **e.options}.items() if value is not None}
    return {name: value for name, value in sorted(found.items()) if len(value) <= _LONGEST}


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={of}" for name, of in value.items())
    return f"{value:g}" if isinstance(value, float) else _short(as_text(value))


def _validations(run: RunDir) -> list[str]:
    """First and last value of every validation metric."""
    rows = [row for row in read_metrics(run.metrics) if any(name.startswith("val/") for name in row["data"])]
    if not rows:
        return []
    names = dict.fromkeys(name for row in rows for name in row["data"] if name.startswith("val/"))
    cells = {}
    for name in names:
        has = [(row["step"], row["data"][name]) for row in rows if name in row["data"]]
        cells[name] = " | ".join(f"{value:.4f} (step {step})" for step, value in (has[0], has[-1]))
    return ["\n## Validation\n", *_table(("", "first", "last"), cells)]


def _table(heads: tuple[str, ...], cells: Mapping[str, str]) -> list[str]:
    rows = [f"| {name} | {value} |" for name, value in cells.items() if value]
    return ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *rows]
