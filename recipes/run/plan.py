"""A run's plan in numbers: batch arithmetic, hint schedule, memory. Printed by --dry_run and at the start."""

import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as parquet

from data_prep.chain.noise import mistaken_pairs
from data_prep.chain.problem import Space
from data_prep.prompt_styles import STYLES, Question, read_completion
from data_prep.tokens import THINK
from eval.models import find_model
from recipes import ROOT
from recipes.algorithms.base import Demonstration, forget
from recipes.algorithms.hints.cut import draw_plans, hint_length
from recipes.algorithms.hints.schedule import MAX_SEGMENTS
from recipes.checks.algorithm_check import told
from recipes.common.machine import installed_vllm
from recipes.common.numbered import counted
from recipes.common.run_dir import RunDir
from recipes.data.data_check import unsolved_rows
from recipes.data.datafiles import DataFiles
from recipes.data.demonstrations import taught
from recipes.data.shown_prompt import shown_prompt
from recipes.data.stored_tokenizer import is_here
from recipes.estimate.describe import describe_memory
from recipes.estimate.kernels import micro_batch_limit
from recipes.estimate.machine_needs import describe_disk, few_cores, small_cards
from recipes.run.build_stages import training_plan
from recipes.settings.applies import clock, mentions, reads_solutions
from recipes.settings.experiment import Experiment
from recipes.settings.hook_settings import hook_settings
from recipes.settings.tasks import validated_on
from recipes.trl_plugin.plan import TrainingPlan, count_rows
from recipes.verl_plugin.config_sections import samples_dynamically

MODELS = ROOT / "models"
"""The tiny base models, named tiny-<task> with an optional suffix."""


def batch_arithmetic(experiment: Experiment, files: DataFiles) -> str:
    """How prompts become sequences, updates and epochs."""
    e = experiment
    lines = []
    unread = files.generate is not None and not files.n_train
    sampled = f" ({e.val_samples} answers each, temperature {e.temperature:g})" if e.val_samples else ""
    size = e.val_size if e.val_size > 0 else files.n_test
    tested = min(size, files.n_test or size)
    validated = f"validation on {counted(tested, 'row') if tested else 'all rows'}{sampled}"
    if "sft" in e.stages:
        rows = taught(e, files).n_train
        per_epoch = rows // e.batch_size
        lines.append(
            f"supervised:    {counted(rows, 'row')} / {e.batch_size} per step x {e.sft_epochs} epochs = "
            f"{counted(per_epoch * e.sft_epochs, 'step')}, lr {e.sft_lr:g} (10 % warm-up, cosine)"
        )
    if e.stages == ("sft",):
        lines.append(f"               {validated} before and after")
    if "rl" in e.stages:
        shown = e.algorithm.demonstrations
        each = e.n_rollout + shown
        sequences = e.batch_size * each
        of_rows = f"= {e.T * e.batch_size / max(files.n_train, 1):.1f} passes over {counted(files.n_train, 'row')}"
        passes = "over rows that the start will load" if unread else of_rows
        rollouts = f"({e.n_rollout} rollouts + {shown} demonstration)" if shown else f"{e.n_rollout} rollouts"
        lines.append(
            f"reinforcement: {e.batch_size} prompts x {rollouts} = {sequences} sequences per step, "
            f"{e.batch_size // e.mini_batch_size} update(s) of {e.mini_batch_size * each} on "
            f"{e.n_gpu * e.nnodes} device(s), lr {e.lr:g}"
        )
        lines.append(
            f"               {counted(e.T, 'step')} {passes}; {validated} every {e.test_freq} steps, "
            f"checkpoint every {e.save_freq}"
        )
        if samples_dynamically(e):
            lines.append(
                f"               prompts whose rollouts all have the same reward are replaced, in up to "
                f"{e.dynamic_sampling_rounds} rounds: at most as many times the passes and rollouts"
            )
        hint = f" + hint {e.max_hint_length}" if e.algorithm.uses_hints else ""
        lines.append(
            f"               tokens: prompt {e.max_prompt_length}{hint} + generation {e.max_response_length}; "
            f"{micro_batch_limit(e)} per micro-batch and device"
        )
    return "\n".join([*lines, *_adapter(e)])


def alignment_arithmetic(experiment: Experiment, files: DataFiles) -> str:
    """What an alignment stage trains on, and how rows become updates."""
    a, devices = experiment.alignment, experiment.n_gpu * experiment.nnodes
    feedback = f", {a.feedback} feedback" if experiment.method == "una" else ""
    loss = f", {a.una_loss} loss" if experiment.method == "una" and a.feedback != "pairwise" else ""
    planned = training_plan(experiment, RunDir(ROOT), files)
    unit = "pair" if planned.pairwise else "answer"
    rows = _rows_of_answers(planned, files, unit)
    beta = "" if experiment.method == "sft" else f", beta {a.beta:g}"
    lines = [f"alignment:     {experiment.method}{feedback}{loss}{beta}, on {rows}"]
    if a.sft_ratio:
        lines.append(f"               {a.sft_ratio:g} instruction rows per alignment row, with score 1")
    micro, accumulated = a.micro_batch_size, a.batch_size // (a.micro_batch_size * devices)
    lines.append(
        f"               {counted(a.batch_size, unit)} per step = {micro} x {accumulated} micro-batches x {devices} "
        f"device(s), {a.epochs:g} epochs, lr {a.lr:g} "
        f"({100 * a.warmup_ratio:g} % warm-up, {a.lr_schedule}), at most {a.max_length} tokens"
    )
    return "\n".join([*lines, *_adapter(experiment)])


def _rows_of_answers(planned: TrainingPlan, files: DataFiles, unit: str) -> str:
    """How many examples the method finds, and in how many answers."""
    if not files.n_train:
        return "answers that the start will load"
    answers = counted(files.n_train, "answer")
    if not files.train.exists():
        return f"pairs of {answers}" if planned.pairwise else answers
    found = counted(count_rows(planned), unit)
    return found if found == answers else f"{found} (of {answers} in all)"


def _adapter(experiment: Experiment) -> list[str]:
    a = experiment.alignment
    bits = f", frozen weights in {a.bits} bits" if a.bits else ""
    rank = experiment.lora_rank
    return [f"               LoRA rank {rank}, alpha {a.lora_alpha}{bits}"] if rank else []


def hint_schedule(experiment: Experiment, draws: int = 200) -> str:
    """Mean share of the solution given as a hint, and of prompts without a hint, during the run (by sampling)."""
    e = experiment
    if not e.algorithm.uses_hints:
        return "hints:         none"
    s = SimpleNamespace(**hook_settings(e))
    remembers = e.algorithm.remember is not forget
    steps = [1] if remembers else sorted({1, *(max(1, round(e.T * part / 5)) for part in range(1, 6))})
    rows = []
    for step in steps:
        shares = []
        for draw in range(draws):
            about: dict[str, Any] = {"step": step, "seed": e.seed, "key": str(draw), "past": None, "common": None}
            with told(e.algo):
                plans = draw_plans(e.algorithm, ["x"] * MAX_SEGMENTS, s, **about)
            lengths = [hint_length(plan, MAX_SEGMENTS) for plan in plans if not isinstance(plan, Demonstration)]
            shares.append(sum(lengths) / len(lengths) / MAX_SEGMENTS)
        mean, none = sum(shares) / draws, sum(share == 0 for share in shares) / draws
        rows.append(
            f"               step {step:>5}  {mean:>5.0%} of the solution  {none:>5.0%} of prompts without hint"
        )
    if remembers:
        return "\n".join(["hints:         depend on each problem's past results; at the start:", *rows])
    if all("  0% of the solution" in row for row in rows):
        return "hints:         none"
    weight = f"; weight of their log-likelihood {e.sft_loss_coef:g} ({e.hint_nll_agg})" if e.sft_loss_coef else ""
    until = f"T_hint {e.T_hint}" if clock(e.algorithm, e.stages) else "in all steps"
    if clock(e.algorithm, e.stages) and e.T_hint >= e.T:
        until += ": until the last step (with a smaller --T_hint the last steps have none)"
    return "\n".join([f"hints:         {until}{weight}", *rows])


def prompt_style(experiment: Experiment, files: DataFiles) -> str:
    """The prompt style with a complete example prompt: the first test problem, or placeholders before it exists."""
    style = STYLES[experiment.prompt_style]
    question = Question("<question>", "<example>")
    if files.test.exists():
        first = next(parquet.ParquetFile(files.test).iter_batches(1, columns=["prompt"])).to_pylist()[0]
        text = "".join(message["content"] for message in first["prompt"])
        question = read_completion(text) or question
    text = shown_prompt(experiment.model, style.messages(question), chat=style.chat)
    opens = style.chat and text.rstrip().endswith(THINK)
    text += "" if opens else style.starts
    where = "<answer> </answer>" if style.answer_format == "tags" else "\\boxed{}"
    lines = f"prompt style:  {style.name}: {style.title}; the reward reads the answer from {where}\n{_lines(text)}"
    return lines + f"\n{_INDENT}(this chat template opens the thought itself, so nothing is added)" * opens


def first_prompt(experiment: Experiment, files: DataFiles) -> str:
    """The first prompt of training on answers, as the model gets it; empty before the rows exist."""
    if not files.train.exists():
        return ""
    first = next(parquet.ParquetFile(files.train).iter_batches(1, columns=["prompt"])).to_pylist()[0]
    chat = experiment.prompt_style == "chat"
    text = shown_prompt(experiment.model, first["prompt"], chat=chat)
    how = "in the model's chat template" if chat else "plain text"
    return f"first prompt:  {how}; the answer follows\n{_lines(text)}"


_INDENT = " " * 15


def _lines(text: str, width: int = 110) -> str:
    """A text letter for letter: each of its lines behind a |, what does not fit into one below it."""
    keep: Any = {"replace_whitespace": False, "drop_whitespace": False, "expand_tabs": False}
    wrapped = [textwrap.wrap(line, width, break_on_hyphens=False, **keep) or [""] for line in text.split("\n")]
    return "\n".join(f"{_INDENT}{' ' if at else '|'} {part}" for parts in wrapped for at, part in enumerate(parts))


def _notes(experiment: Experiment, files: DataFiles) -> list[str]:
    """What may be unexpected about model and data."""
    notes = []
    if experiment.reward is not None:
        notes.append(f"rewards come from --reward {experiment.reward}")
    notes += filter(None, (few_cores(experiment), small_cards(experiment)))
    if experiment.device == "cpu" and "rl" in experiment.stages and installed_vllm() == "cuda":
        notes.append(
            "the vLLM installed is built for GPUs, and starts no rollout on a CPU: ./install.sh --profile cpu; on "
            "a machine with a GPU see nvidia-smi, CUDA_VISIBLE_DEVICES and python3 -m recipes.doctor"
        )
    if not is_here(experiment.model, fetch=False):
        notes.append(f"{experiment.model} is not on this machine: whether it exists is checked at the start")
    place = Path(find_model(experiment.model)).resolve()
    task = validated_on(experiment.data, experiment.stages)
    made_for = place.name.split("-")[1] if place.parent == MODELS and "-" in place.name else task
    if made_for != task:
        notes.append(f"{experiment.model} was made for {made_for} and knows little else: few answers will be correct")
    draw, passes = experiment.algorithm.rollout, experiment.T * experiment.batch_size / max(files.n_train, 1)
    if "rl" in experiment.stages and passes <= 1 and mentions(draw, "past") and not mentions(draw, "common"):
        twice = -(-2 * files.n_train // experiment.batch_size)
        notes.append(
            f"--algo {experiment.algorithm.name} gives hints for problems that have failed before, and no problem is "
            f"drawn twice in {experiment.T} steps: --T {twice} is two passes"
        )
    unsolved = unsolved_rows(files) if experiment.data_kind == "problems" and files.train.exists() else 0
    if unsolved and "sft" in experiment.stages:
        notes.append(f"{unsolved} of {files.n_train} rows have no solution: only the answer is learned from them")
    if unsolved and reads_solutions(experiment.algorithm):
        without = "they get no hints" if experiment.algorithm.uses_hints else "none is shown or learned there"
        notes.append(f"{unsolved} of {files.n_train} rows have no solution: {without}")
    return notes


def describe(experiment: Experiment, files: DataFiles) -> str:
    """The full plan: everything above under a heading."""
    algorithm = experiment.algorithm
    heading = f"{algorithm.name}: {algorithm.title}\n               {algorithm.equation}  [{algorithm.paper}]"
    data = f"data:          {files.train.parent}" + (" (will be prepared)" if files.generate is not None else "")
    options = ", ".join(f"--{name} {value}" for name, value in experiment.options.items())
    parts = [
        heading,
        *([f"options:       {options}"] if options else []),
        f"model:         {experiment.model} on profile {experiment.profile}",
        data,
    ]
    if experiment.overrides:
        parts += [f"overrides:     {' '.join(experiment.overrides)}  (not considered in the rest of this plan)"]
    parts += [f"note:          {line}" for line in _notes(experiment, files)]
    how = experiment.solutions_left
    if how.changes:
        whose = "another problem's" if how.whose == "sham" else "its own"
        wrong = f"{how.noise:.0%} of steps wrong"
        if how.errors == "repeated":
            few, pairs = mistaken_pairs(experiment.data_options.get("states") or Space.states, how.noise)
            share = f"{few} of {pairs}" if experiment.data == "chain" else f"{how.noise:.0%} of the"
            wrong = f"wrong in the same way after {share} pairs of state and input"
        parts.append(f"solutions:     of {how.share:.0%} of the problems, {wrong}, each {whose}")
    if experiment.stages == ("alignment",):
        parts += [*filter(None, [first_prompt(experiment, files)]), alignment_arithmetic(experiment, files)]
    else:
        parts += [prompt_style(experiment, files), batch_arithmetic(experiment, files)]
    if "rl" in experiment.stages:
        parts += [hint_schedule(experiment)]
    return "\n".join([*parts, describe_memory(experiment), *filter(None, [describe_disk(experiment)])])
