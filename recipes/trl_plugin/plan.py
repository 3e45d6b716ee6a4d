"""The configuration of an offline alignment stage: TrainingPlan, written to FOLDER/trl.yaml and read by main.py.

Pure: imports neither trl nor torch, so that --dry_run is fast.
"""

import importlib.util
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from data_prep.preference import views
from data_prep.preference.schema import Row, read_rows
from data_prep.split import rows_by_chance
from recipes.algorithms.base import Method
from recipes.common.errors import ExperimentError
from recipes.common.machine import gpu_count
from recipes.common.run_dir import write_text
from recipes.data.solution_check import file_name, refuse_long
from recipes.settings.alignment import Alignment, nearest_multiple
from recipes.settings.experiment import Experiment
from recipes.settings.trackers import LOGGERS, PROJECT

PLAN_FILE = "trl.yaml"

_LENGTHS = 256
"""Rows sampled from a file to check its lengths."""


@dataclass(frozen=True)
class TrainingPlan:
    """One stage of offline alignment."""

    method: Method
    """sft on instructions, dpo on pairs, kto on labels, una on alignment.feedback (una_sft: with sft_ratio > 0)."""

    model: str
    """Folder or hub name of the model that is trained; also the reference."""

    train_file: str
    test_file: str
    """Parquet files of alignment rows (data_prep/preference/schema.py)."""

    run_dir: str
    """Where all output of the stage goes."""

    device: Literal["cpu", "cuda"]
    devices: int
    """Processes, one per GPU; on the CPU 1, or more for tests."""

    dtype: Literal["float32", "bfloat16"]
    """Of the computation and of the weights in hf/last."""

    seed: int
    lora_rank: int
    """0 trains all weights."""

    alignment: Alignment
    prompt_style: str
    """"chat" renders prompts with the model's own chat template; any other style uses their text unchanged."""

    test_freq: int
    save_freq: int
    """Steps between validations, and between checkpoints; both also happen at the end."""

    val_size: int
    """Test rows (pairs, for pairwise feedback; and as many instructions) per validation; -1 is all."""

    keep_checkpoints: int
    logger: tuple[str, ...]
    resume_from: str | None
    """A complete checkpoint to resume from."""

    max_steps: int | None = None
    """Stop after this many steps, where the learning-rate schedule also ends; None: alignment.epochs decides."""

    shape: str = ""
    """sft: names g of -g(sg p) log p (recipes/algorithms, `find_shape`); empty for the plain likelihood."""

    record: dict[str, Any] = field(default_factory=dict)
    """A TrainingRecord, published with the weights."""

    project: str = PROJECT
    run_name: str = ""
    """The names that trackers use for the project and the run."""

    early_stopping: int = 0
    """End after this many validations without a new lowest loss; 0 never does."""

    @property
    def pairwise(self) -> bool:
        """Whether a training row is a pair of completions."""
        return self.method == "dpo" or (self.method == "una" and self.alignment.feedback == "pairwise")

    @property
    def accumulation(self) -> int:
        """Micro-batches per device and optimiser step."""
        return self.alignment.batch_size // (self.alignment.micro_batch_size * self.devices)


def write_plan(plan: TrainingPlan, folder: Path) -> None:
    """Write the plan where `python -m recipes.trl_plugin.main FOLDER` reads it."""
    values = asdict(plan) | {"logger": list(plan.logger)}
    write_text(folder / PLAN_FILE, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def read_plan(folder: Path) -> TrainingPlan:
    """The plan in a folder, validated. Raises ExperimentError as `check_plan`, and for unknown keys."""
    path = folder / PLAN_FILE
    values: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    known = {each.name for each in fields(TrainingPlan)}
    if unknown := set(values) - known:
        raise ExperimentError(f"{path}: unknown keys {', '.join(sorted(unknown))}")
    values["alignment"] = Alignment(**values["alignment"])
    values["logger"] = tuple(values["logger"])
    plan = TrainingPlan(**values)
    check_plan(plan)
    return plan


def check_plan(plan: TrainingPlan) -> None:
    """Raise ExperimentError for values that contradict each other."""
    a = plan.alignment
    if plan.method not in get_args(Method):
        raise ExperimentError(f"method {plan.method!r}: must be one of {', '.join(get_args(Method))}")
    share, left = divmod(a.batch_size, plan.devices)
    if left:
        raise ExperimentError(
            f"--batch_size {a.batch_size} is not divisible by {plan.devices} devices. "
            f"Nearest: --batch_size {nearest_multiple(a.batch_size, plan.devices)}."
        )
    if share % a.micro_batch_size:
        fitting = (size for size in range(1, share + 1) if share % size == 0)
        raise ExperimentError(
            f"--micro_batch_size {a.micro_batch_size}: does not divide the {share} rows that each device gets of "
            f"--batch_size {a.batch_size}, so micro-batches would be uneven. "
            f"Nearest: --micro_batch_size {min(fitting, key=lambda size: abs(size - a.micro_batch_size))}."
        )
    if a.sft_ratio and plan.method != "una":
        raise ExperimentError(f"--sft_ratio {a.sft_ratio}: only una mixes instructions in, {plan.method} cannot")
    if a.sft_ratio and plan.pairwise:
        raise ExperimentError(
            "--sft_ratio with --feedback pairwise: instructions are not pairs; use --feedback score or binary"
        )
    if unknown := set(plan.logger) - set(LOGGERS):
        raise ExperimentError(f"--logger {', '.join(sorted(unknown))}: unknown. Known: {', '.join(LOGGERS)}")


def check_machine(plan: TrainingPlan) -> None:
    """Raise ExperimentError if this machine cannot run the plan. Imports no torch."""
    if (bits := plan.alignment.bits) and importlib.util.find_spec("bitsandbytes") is None:
        raise ExperimentError(
            f"--load_in_{bits}bit needs bitsandbytes: `.venv/bin/python -m pip install bitsandbytes`, or omit the flag"
        )
    if plan.device == "cuda" and gpu_count() < plan.devices:
        raise ExperimentError(f"--n_gpu {plan.devices}: this machine has {gpu_count()} visible GPUs")


def total_steps(plan: TrainingPlan, n_rows: int) -> int:
    """Optimiser steps of a run over `n_rows` usable rows (pairs); epochs are concatenated without partial batches.

    Raises:
        ExperimentError: there are not enough rows for one full batch.
    """
    rows = int(plan.alignment.epochs * n_rows)
    steps = plan.max_steps or rows // plan.alignment.batch_size
    if n_rows < 1:
        needed = "pairs of a better and a worse answer" if plan.pairwise else "labelled, scored or demonstrated answers"
        raise ExperimentError(
            f"{plan.train_file}: no row that {plan.method} can train on ({needed}). dpo takes pairs; kto and una take "
            f"labels and scores; sft takes conversations and instructions (docs/alignment_data.md)"
        )
    if steps < 1:
        raise ExperimentError(
            f"{plan.train_file} has {n_rows} rows for {plan.method}, {rows} in {plan.alignment.epochs:g} epochs: "
            f"fewer than one batch (--batch_size {plan.alignment.batch_size})"
            + (f"; use --batch_size {rows} or less" if rows else "")
        )
    return steps


def training_items(plan: TrainingPlan, rows: list[Row]) -> views.View[Any]:
    """The rows as the method needs them: pairs, or {prompt, completion, score}; instructions have score 1."""
    a = plan.alignment
    if a.sft_ratio and a.feedback == "score" and any(row["feedback"] == "pairwise" for row in rows):
        raise ExperimentError(
            f"{plan.train_file}: contains pairs, which have no scores, and --sft_ratio {a.sft_ratio:g} mixes in "
            f"instructions with score 1: use rows with scores or labels; or train on pairs alone with --algo una "
            f"--feedback pairwise, or --algo dpo"
        )
    try:
        if plan.method == "una" and a.sft_ratio and a.feedback != "pairwise":
            return views.mixed(rows, rows, a.sft_ratio, plan.seed, a.feedback)
        return alignment_items(plan, rows)
    except ValueError as error:
        raise ExperimentError(f"{plan.train_file}: {error}") from error


def alignment_items(plan: TrainingPlan, rows: list[Row]) -> views.View[Any]:
    """`training_items` without mixed-in instructions: what the method is measured on."""
    if plan.method == "sft":
        found: views.View[Any] = views.instructions(rows)
    elif plan.pairwise:
        return views.pairs(rows)
    elif plan.method == "kto" or plan.alignment.feedback == "binary":
        found = views.binary(rows)
    else:
        return views.scored(rows)
    for item in found:
        item["score"] = float(item.pop("label", True))
    return found


def refuse_long_rows(plan: TrainingPlan, experiment: Experiment, tokenizer: Any) -> None:
    """Raise ExperimentError if all of the method's rows are too long; otherwise print how many are.

    Args:
        tokenizer: encodes texts; a chat template makes rows even longer.
    """

    def tokens(text: str) -> int:
        return len(tokenizer(text)["input_ids"])

    items = training_items(plan, read_rows(Path(plan.train_file)))
    drawn = [items[row] for row in rows_by_chance(len(items))[:_LENGTHS]]
    prompts = [sum(tokens(message["content"]) for message in item["prompt"]) for item in drawn]
    answers = [[item[name] for name in ("completion", "chosen", "rejected") if name in item] for item in drawn]
    totals = [length + max(map(tokens, texts)) + 1 for length, texts in zip(prompts, answers, strict=True)]
    what, a = f"looked at in {file_name(experiment, Path(plan.train_file))}", plan.alignment
    if a.max_prompt_length is not None:
        given = f"--max_prompt_length {a.max_prompt_length}: "
        refuse_long(experiment, given, f"prompts {what}", prompts, a.max_prompt_length)
    refuse_long(experiment, f"--max_length {a.max_length}: ", f"rows {what}", totals, a.max_length)


def count_rows(plan: TrainingPlan) -> int:
    """The method's rows in the training file, before any are skipped for length."""
    return len(training_items(plan, read_rows(Path(plan.train_file))))
