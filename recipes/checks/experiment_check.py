"""Refuses settings that cannot work: values out of their declared range, and conflicting values."""

import math
import re
from pathlib import Path

from data_prep.prompt_styles import STYLES
from eval.models import ENGINE_RANKS, find_model
from recipes.algorithms import algorithms
from recipes.checks.algorithm_check import told, try_draws
from recipes.common.errors import ExperimentError, nearest
from recipes.common.values import wrong
from recipes.estimate.model_shapes import config_of, known_shape
from recipes.settings.alignment import Alignment
from recipes.settings.applies import by_variance, clock
from recipes.settings.data_sets import absolute, sets_of, several
from recipes.settings.declare import declared, options_of
from recipes.settings.experiment import Experiment
from recipes.settings.secrets import refuse_secrets
from recipes.settings.tasks import TASKS, Task
from recipes.settings.trackers import LOGGERS, PROJECT, TRACKERS, missing


def check(experiment: Experiment) -> None:
    """Raise ExperimentError for an invalid run."""
    e = experiment
    refuse_secrets(e)
    for of, settings in ((e.alignment, declared(Alignment)), (e, declared(Experiment))):
        for name, setting in settings.items():
            _refuse(wrong(name, getattr(of, name), setting.check))
    options = options_of(e.algorithm.name, e.algorithm.options)
    for name, value in e.options.items():
        _refuse(wrong(name, value, options[name].check if name in options else None))
    if e.prompt_style not in STYLES:
        raise ExperimentError(
            f"--prompt_style {e.prompt_style}: unknown{nearest(e.prompt_style, STYLES)} Known: {', '.join(STYLES)}."
        )
    if e.data_kind == "answers" and e.algorithm.stages != ("sft",) and e.algorithm.method is None:
        raise ExperimentError(
            f"--algo {e.algo} trains on problems with a verifier; {e.data} holds answers with feedback. "
            f"Use one of {', '.join(n for n, a in algorithms().items() if a.method or a.stages == ('sft',))}."
        )
    if e.data_kind == "problems" and e.algorithm.method is not None:
        known = ", ".join(task.name for task in TASKS.values() if task.kind == "answers")
        raise ExperimentError(
            f"--algo {e.algo} trains on answers with feedback, {e.data} holds problems; use --data {known} "
            f"or your own file (docs/alignment_data.md)"
        )
    for task in tasks_in(e):
        if e.prompt_style not in task.prompt_styles:
            raise ExperimentError(
                f"--prompt_style {e.prompt_style}: the reward of {task.name} does not read its answers; "
                f"use one of {', '.join(task.prompt_styles)}"
            )
    if clock(e.algorithm, e.stages) and e.T_hint > e.T:
        raise ExperimentError(
            f"--T_hint {e.T_hint} is past --T {e.T}: hints would never end. Use a T_hint of at most T "
            f"(the UFT paper: 300 of 500)."
        )
    if e.batch_size % e.mini_batch_size:
        raise ExperimentError(
            f"--batch_size {e.batch_size} is not a multiple of --mini_batch_size {e.mini_batch_size} (in prompts): "
            f"the last update of a step would be short. "
            f"Nearest: --mini_batch_size {_divisor(e.batch_size, e.mini_batch_size)}."
        )
    ranks = e.n_gpu * e.nnodes
    each = e.n_rollout + e.algorithm.demonstrations
    if e.mini_batch_size * each % ranks:
        raise ExperimentError(
            f"an update has {e.mini_batch_size} prompts x {each} rollouts = {e.mini_batch_size * each} "
            f"sequences, which cannot be split evenly over {ranks} devices; change --mini_batch_size or --n_rollout"
        )
    if "sft" in e.stages and e.batch_size % ranks:
        raise ExperimentError(f"--batch_size {e.batch_size} cannot be split evenly over {ranks} devices")
    if ranks % e.tp_size:
        raise ExperimentError(f"--tp_size {e.tp_size} does not divide the {ranks} devices")
    shape = known_shape(e.model) if e.tp_size > 1 else None
    if shape is not None and (uneven := shape.uneven(e.tp_size)):
        fitting = [size for size in range(1, ranks + 1) if ranks % size == 0 and not shape.uneven(size)]
        raise ExperimentError(
            f"--tp_size {e.tp_size}: the {uneven} of {e.model} cannot be split evenly over that many ranks. "
            f"Nearest: --tp_size {min(fitting, key=lambda size: abs(size - e.tp_size))}."
        )
    clip = e.rollout_correction_clip
    if e.rollout_correction == "none" and clip != declared(Experiment)["rollout_correction_clip"].default:
        raise ExperimentError(
            f"--rollout_correction_clip {clip:g}: has no effect without --rollout_correction token or sequence"
        )
    rounds = declared(Experiment)["dynamic_sampling_rounds"].default
    varied = by_variance(e.algorithm, e.stages)
    if varied and not e.dynamic_sampling and e.dynamic_sampling_rounds != rounds:
        raise ExperimentError(
            f"--dynamic_sampling_rounds {e.dynamic_sampling_rounds}: has no effect without --dynamic_sampling"
        )
    if e.overlong_buffer and e.overlong_buffer >= e.max_response_length:
        raise ExperimentError(
            f"--overlong_buffer {e.overlong_buffer}: answers have at most --max_response_length "
            f"{e.max_response_length} tokens, so every one would be penalised; use less (DAPO: a fifth, "
            f"{max(1, e.max_response_length // 5)})"
        )
    if e.clip_ratio_high is not None and e.clip_ratio_high < e.clip_ratio:
        raise ExperimentError(
            f"--clip_ratio_high {e.clip_ratio_high:g}: less than --clip_ratio {e.clip_ratio:g}, the lower end; "
            f"it must be higher (DAPO: .28 with .2)"
        )
    if not e.overlong_buffer and e.overlong_penalty != declared(Experiment)["overlong_penalty"].default:
        raise ExperimentError(
            f"--overlong_penalty {e.overlong_penalty:g}: no answer is penalised; add --overlong_buffer "
            f"{max(1, e.max_response_length // 5)}"
        )
    if e.n_rollout == 1 and e.algorithm.compares_rollouts:
        raise ExperimentError("--n_rollout 1: advantages compare the rollouts of a prompt; use at least 2")
    if e.val_samples > 1 and e.temperature == 0:
        raise ExperimentError(
            f"--val_samples {e.val_samples} with --temperature 0 would give the same answer every time"
        )
    if "rl" in e.stages and e.temperature == 0:
        raise ExperimentError("--temperature 0: the rollouts of a prompt would all be the same; use more than 0")
    if e.lora_rank > ENGINE_RANKS[-1] and "rl" in e.stages:
        raise ExperimentError(f"--lora_rank {e.lora_rank}: vLLM supports adapters up to rank {ENGINE_RANKS[-1]}")
    if e.lora_rank and not e.alignment.lora_alpha:
        raise ExperimentError("--lora_alpha 0: an adapter of scale 0 has no effect; omit it (twice --lora_rank)")
    if e.alignment.bits:
        _check_bits(e)
    for name in ("lora_alpha", "lora_dropout"):
        if getattr(e.alignment, name) and not e.lora_rank:
            raise ExperimentError(f"--{name} {getattr(e.alignment, name)}: there is no adapter; add --lora_rank 32")
    if e.algorithm.uses_hints and e.max_hint_length < 16:
        raise ExperimentError(f"--max_hint_length {e.max_hint_length}: too short to hold a step of a solution")
    if e.save_freq % e.test_freq:
        raise ExperimentError(
            f"--save_freq {e.save_freq} is not a multiple of --test_freq {e.test_freq}: the best step could not be kept"
        )
    _check_records(e)
    if e.algo.endswith(".py") and "rl" in e.stages:
        with told(e.algo):
            try_draws(e)
    _refuse_lost_buffers(e)
    folder = Path(find_model(e.model))
    if folder.exists():
        if not (folder / "config.json").exists():
            place = "is a file" if folder.is_file() else "the folder has no config.json"
            raise ExperimentError(f"--model {e.model}: {place}; give a Hugging Face model folder")
    elif e.model.startswith((".", "/", "models/", "out/")) or e.model.count("/") != 1:
        raise ExperimentError(f"--model {e.model}: no such folder, and not a Hugging Face name (owner/name)")


def tasks_in(experiment: Experiment) -> list[Task]:
    """The tasks among the data sets it trains or validates on."""
    names = [*sets_of(experiment.data), *several(experiment.val_data or experiment.data, "val_data")]
    return [TASKS[name] for name in dict.fromkeys(names) if name in TASKS]


def refuse_training(experiment: Experiment) -> None:
    """Raise ExperimentError for training that its data cannot support, as far as known without reading them."""
    e = experiment
    for task in (TASKS[name] for name in sets_of(e.data) if name in TASKS and TASKS[name].only_for_evaluation):
        trainable = ", ".join(name for name, each in TASKS.items() if not each.only_for_evaluation)
        raise ExperimentError(
            f"--data {task.name} is only for evaluation ({task.only_for_evaluation}); add --eval, "
            f"or train on one of {trainable}"
        )
    longest = e.prompt_length + e.response_length
    if longest > e.tokens_per_micro_batch:
        raise ExperimentError(
            f"a sequence may have {longest} tokens (prompt {e.prompt_length} + response {e.response_length}), more "
            f"than a micro-batch (--tokens_per_micro_batch {e.tokens_per_micro_batch}); raise it or shorten the lengths"
        )
    if e.val_data and absolute(e.val_data) == absolute(e.data):
        raise ExperimentError(
            f"--val_data {e.val_data}: --data trains on the same; omit it to hold out a part of --data, or name "
            f"another data set"
        )
    if not e.demonstrations:
        raise ExperimentError(
            f"--demonstrations 0: no problem would keep its solution, which --algo {e.algo} learns from; use more "
            f"than 0, or train without solutions: --algo rft"
        )
    if e.demonstration_errors == "repeated":
        if others := [name for name in sets_of(e.data) if name in TASKS and name != "chain"]:
            raise ExperimentError(f"--demonstration_errors repeated: only for --data chain, not {', '.join(others)}")
        if not e.demonstration_noise:
            raise ExperimentError("--demonstration_errors repeated: there are none; add --demonstration_noise .1")
    rows = e.data_options.get("n_train") if e.data_kind == "problems" else None
    if rows is None:
        return
    if rows < e.batch_size:
        raise ExperimentError(
            f"--n_train {rows}: fewer than --batch_size {e.batch_size}, not enough for one step; use more, or "
            f"--batch_size {rows} or less"
        )
    # Which problems keep a solution is random: refuse now what is near certain to fail.
    share = e.demonstrations
    if "sft" in e.stages and share * rows + 5 * math.sqrt(share * (1 - share) * rows) < e.batch_size:
        raise ExperimentError(
            f"--demonstrations {share}: about {share * rows:.0f} of {rows} problems keep a solution, fewer than "
            f"--batch_size {e.batch_size}: not enough for one supervised step"
        )


def _refuse_lost_buffers(e: Experiment) -> None:
    """Raise ExperimentError for models whose engine loses more than weights while it sleeps (vllm#53344)."""
    if e.device != "cuda" or "rl" not in e.stages:
        return
    config = config_of(e.model)
    kind = str(config.get("model_type", "")) if config else e.model.rpartition("/")[2].lower().replace("-", "")
    awake = any(re.fullmatch(r"\+*actor_rollout_ref\.rollout\.free_cache_engine=(?i:false)", o) for o in e.overrides)
    if re.match(r"gemma_?(3n|4)", kind) and not awake:
        raise ExperimentError(
            f"--model {e.model}: vLLM frees its memory during updates, and Gemma 3n and 4 keep values there that no "
            f"weight sync restores: all later rollouts would be garbage (vllm#53344). Use another model, or keep the "
            f"engine awake if both fit: -- actor_rollout_ref.rollout.free_cache_engine=False"
        )


def _refuse(why: str) -> None:
    if why:
        raise ExperimentError(why)


def _check_records(experiment: Experiment) -> None:
    e = experiment
    for name in e.logger:
        if name not in LOGGERS:
            raise ExperimentError(f"--logger {name}: unknown{nearest(name, LOGGERS)} Known: {', '.join(LOGGERS)}.")
    if name := missing(e.logger):
        raise ExperimentError(
            f"--logger {name}: the package {name} is not installed: .venv/bin/python -m pip install {name}"
        )
    if not {*TRACKERS} & {*e.logger}:
        for flag, value in (("project", e.project if e.project != PROJECT else None), ("run_name", e.run_name)):
            if value is not None:
                raise ExperimentError(
                    f"--{flag} {value}: only {', '.join(TRACKERS)} use it; add one, such as --logger "
                    f"{','.join((*e.logger, TRACKERS[0]))}"
                )
    # The number of steps of other stages depends on their rows (recipes/run/build_stages.py).
    if e.stages == ("rl",) and e.early_stopping * e.test_freq >= e.T and e.early_stopping:
        raise ExperimentError(
            f"--early_stopping {e.early_stopping}: with a validation every --test_freq {e.test_freq} steps, the run "
            f"would stop at step {e.early_stopping * e.test_freq} at the earliest, and --T is {e.T}; use fewer, or "
            f"validate more often"
        )


def _check_bits(experiment: Experiment) -> None:
    e, bits = experiment, experiment.alignment.bits
    if e.alignment.load_in_4bit and e.alignment.load_in_8bit:
        raise ExperimentError("--load_in_4bit with --load_in_8bit: use only one of them")
    if e.stages != ("alignment",):
        raise ExperimentError(
            f"--load_in_{bits}bit: --algo {e.algo} on {e.data} cannot hold its weights in {bits} bits, only alignment "
            f"stages can (sft on answers, dpo, kto, una, una_sft); use --lora_rank alone to save memory here"
        )
    if e.device != "cuda":
        raise ExperimentError(f"--load_in_{bits}bit needs a GPU (bitsandbytes needs CUDA); omit it")
    if not e.lora_rank:
        raise ExperimentError(f"--load_in_{bits}bit freezes the weights; add --lora_rank 32 to train an adapter")


def _divisor(total: int, wanted: int) -> int:
    return min((d for d in range(1, total + 1) if total % d == 0), key=lambda d: abs(d - wanted))
