"""From flags to an Experiment: defaults of algorithm, task and machine under what the user gave, then checks."""

import ast
import importlib.util
import math
import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from data_prep.prompt_styles import STYLES
from eval.models import find_model
from recipes.algorithms import Algorithm, AlgorithmFileError, algorithms, get_algorithm
from recipes.alignment import DataKind, resolve_alignment
from recipes.datafiles import kind_of_rows
from recipes.experiment import LOGGERS, Experiment, ExperimentError, nearest
from recipes.machine import gpu_memory_gb
from recipes.profiles import PROFILES, Profile, detect_profile, share_evenly
from recipes.tasks import TASKS, Task
from recipes.training_record import model_name, read_record
from reward_fns import REWARDS


def build_experiment(flags: dict[str, Any], profile: Profile) -> Experiment:
    """Resolve flags over task and profile defaults, and validate the result.

    Args:
        flags: values given by the user by field name; None means not given.
        profile: where the other values come from.

    Raises:
        ExperimentError: naming the flag, what is wrong and what to do.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    algo = given.pop("algo", "uft")
    try:
        algorithm = get_algorithm(algo)
    except KeyError:
        names = [name for each in algorithms().values() for name in (each.name, *each.aliases)]
        raise ExperimentError(
            f"--algo {algo}: no such algorithm{nearest(algo, names)} Known: {', '.join(algorithms())}."
        ) from None
    except AlgorithmFileError as error:
        raise ExperimentError(f"--algo {error}") from None
    data = given.pop("data", "countdown")
    if data not in TASKS and not Path(data).exists():
        raise ExperimentError(
            f"--data {data}: neither a task nor a file or folder{nearest(data, TASKS)} Tasks: {', '.join(TASKS)}; "
            f"a folder must hold train.parquet and test.parquet, a file problems (docs/custom_data.md)."
        )
    task = TASKS.get(data) or TASKS.get(Path(data).name) or TASKS["math" if Path(data).is_file() else "countdown"]
    kind = task.kind if data in TASKS else kind_of_rows(Path(data))
    if kind == "problems" and algorithm.stages == ("sft",):
        # One supervised stage: --lr and --epochs can mean nothing else. The longer names are the UFT repository's.
        for short, long in (("lr", "sft_lr"), ("epochs", "sft_epochs")):
            if short in given:
                given.setdefault(long, given.pop(short))
        if given.get("sft_epochs", 1) != int(given.get("sft_epochs", 1)):
            raise ExperimentError(f"--epochs {given['sft_epochs']}: passes over problems are whole ones")
        if "sft_epochs" in given:
            given["sft_epochs"] = int(given["sft_epochs"])
    alignment = resolve_alignment(given, algorithm, profile, kind)
    if (reward := given.get("reward")) is not None:
        given["reward"] = _reward(reward)
    # Steps on answers are smaller and more than reinforcement's.
    usual = 25 if kind == "answers" else min(profile.test_freq, given.get("T", profile.T))
    test_freq = given.get("test_freq", usual)
    ranks = given.get("n_gpu", profile.n_gpu) * given.get("nnodes", 1)
    batch_size, mini_batch_size = share_evenly(profile, given, ranks)
    values: dict[str, Any] = {
        "algo": str(Path(algo).resolve()) if algo.endswith(".py") else algorithm.name,
        "data": data,
        "data_kind": kind,
        "model": profile.model,
        "profile": profile.name,
        "device": profile.device,
        "T": profile.T,
        "T_hint": min(profile.T_hint, given.get("T", profile.T)),
        "n_rollout": profile.n_rollout,
        "sft_loss_coef": 0.0,
        "hint_nll_agg": "token-mean",
        "batch_size": batch_size,
        "mini_batch_size": mini_batch_size,
        "lr": profile.lr,
        "sft_lr": profile.sft_lr,
        "sft_epochs": profile.sft_epochs,
        "critic_lr": profile.critic_lr,
        "kl_coef": 0.001,
        "entropy_coef": 0.001,
        "clip_ratio": 0.2,
        "temperature": 1.0,
        "max_prompt_length": task.max_prompt_length,
        "max_hint_length": task.max_hint_length,
        "max_response_length": task.max_response_length,
        **profile.lengths.get(task.name, {}),
        "n_gpu": profile.n_gpu,
        "nnodes": 1,
        "tp_size": 1,
        "dtype": profile.dtype,
        "tokens_per_micro_batch": profile.tokens_per_micro_batch,
        "rollout_memory": profile.rollout_memory,
        "max_num_seqs": profile.max_num_seqs,
        "lora_rank": profile.lora_rank,
        "seed": 0,
        "test_freq": test_freq,
        "save_freq": test_freq,
        "val_size": -1,
        "keep_checkpoints": 2,
        "log_rollouts": 8,
        "logger": ("console", "file", "tensorboard"),
        "alignment": alignment,
        "data_options": profile.data_options.get(task.name, {}) if data in TASKS else {},
        "prompt_style": default_prompt_style(given.get("model", profile.model), task, kind),
        "reward": None,
        "allow_overlap": False,
        "max_reward_error_rate": 0.05,
        "max_timeout_rate": 0.2,
        "max_parse_fail_rate": 0.99,
        "parse_fail_steps": 50,
        "overrides": (),
    }
    values |= algorithm.settings
    values["options"] = own_options(algorithm, given)
    data_path = given.pop("data_path", None)
    if data_path is not None:
        if data not in TASKS or not task.from_hub:
            raise ExperimentError(f"--data_path {data_path}: only for tasks from the hub (math, others), not {data}")
        values["data_options"] = {**values["data_options"], "source": str(Path(data_path).resolve())}
    scale = {name: given.pop(name) for name in ("score_min", "score_max") if name in given}
    if scale:
        if kind != "answers" or not Path(data).is_file():
            raise ExperimentError(f"--{next(iter(scale))}: only for a file of scored answers of your own, not {data}")
        values["data_options"] = {**values["data_options"], **scale}
    unknown = sorted(set(given) - set(values))
    if unknown:
        raise ExperimentError(f"{unknown[0]}: no such setting{nearest(unknown[0], values)}")
    values.update(given)
    experiment = Experiment(**values)
    check(experiment)
    return experiment


def own_options(algorithm: Algorithm, given: dict[str, Any]) -> dict[str, Any]:
    """The algorithm's own settings, its defaults under what is given; those are taken out of `given`.

    Raises:
        ExperimentError: for an option of another algorithm.
    """
    mine = {} if algorithm.options is None else asdict(algorithm.options())
    for other in algorithms().values():
        if other.options is None or other.name == algorithm.name:
            continue
        for name in {each.name for each in fields(other.options)} - mine.keys():
            if name in given:
                raise ExperimentError(
                    f"--{name}: has no effect on --algo {algorithm.name}; it is an option of {other.name}"
                )
    return {name: given.pop(name, default) for name, default in mine.items()}


def _reward(reward: str) -> str:
    """A reward's name as it is; a user's file by its full path, because workers run in other folders."""
    file, colon, function = reward.rpartition(".py:")
    if not colon:
        if reward not in REWARDS:
            raise ExperimentError(
                f"--reward {reward}: unknown{nearest(reward, REWARDS)} Known: {', '.join(REWARDS)}, or "
                f"path/to/file.py:function (docs/custom_data.md)."
            )
        return reward
    path = Path(f"{file}.py")
    if not path.is_file():
        raise ExperimentError(f"--reward {reward}: no file {path}")
    names = _names_in(path)
    if function not in names:
        raise ExperimentError(f"--reward {reward}: {path} has no function {function!r}{nearest(function, names)}")
    return f"{path.resolve()}:{function}"


def _names_in(path: Path) -> list[str]:
    """The names that a file's module has once it is imported, without importing it: it may need what workers have."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        raise ExperimentError(f"--reward {path}: is no Python file: {error}") from None
    found: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.append(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found += [each.asname or each.name.partition(".")[0] for each in node.names]
        else:
            found += [each.id for each in ast.walk(node) if isinstance(each, ast.Name)]
    return found


def default_prompt_style(model: str, task: Task, kind: DataKind) -> str:
    """The style that questions are put in where none is given.

    chat for conversations; what a model of ours was trained with; chat where the model's name says that it follows
    instructions, completion for all others.
    """
    if kind == "answers" and not task.evaluated_on:
        return "chat"
    found = read_record(Path(find_model(model)))
    if found is not None and found[0].prompt_style in task.prompt_styles:
        return found[0].prompt_style
    return "chat" if re.search(r"(?i)(instruct|chat|-it)\b", model_name(model)) else "completion"


def check(experiment: Experiment) -> None:
    """Raise ExperimentError for a run that cannot work."""
    e = experiment
    for name, value in {**asdict(e.alignment), **e.options, **asdict(e)}.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ExperimentError(f"--{name} {value}: must be a finite number")
    if e.prompt_style not in STYLES:
        raise ExperimentError(
            f"--prompt_style {e.prompt_style}: unknown{nearest(e.prompt_style, STYLES)} Known: {', '.join(STYLES)}."
        )
    if e.data_kind == "answers" and e.algorithm.stages != ("sft",) and e.algorithm.method is None:
        raise ExperimentError(
            f"--algo {e.algo} trains on problems with a verifier; {e.data} holds answers and what is known of them. "
            f"Use one of {', '.join(n for n, a in algorithms().items() if a.method or a.stages == ('sft',))}."
        )
    if e.data_kind == "problems" and e.algorithm.method is not None:
        known = ", ".join(task.name for task in TASKS.values() if task.kind == "answers")
        raise ExperimentError(
            f"--algo {e.algo} trains on answers and what is known of them, {e.data} holds problems; use --data {known} "
            f"or a file of your own (docs/alignment_data.md)"
        )
    task = TASKS.get(e.data)
    if task is not None and e.prompt_style not in task.prompt_styles:
        raise ExperimentError(
            f"--prompt_style {e.prompt_style}: the reward of {task.name} does not read its answers; "
            f"use one of {', '.join(task.prompt_styles)}"
        )
    for name in ("max_reward_error_rate", "max_timeout_rate", "max_parse_fail_rate"):
        if not 0 <= getattr(e, name) <= 1:
            raise ExperimentError(f"--{name} {getattr(e, name)}: must be from 0 to 1 (1 never stops a run)")
    for name in ("T", "n_rollout", "batch_size", "mini_batch_size", "sft_epochs", "n_gpu", "nnodes", "tp_size"):
        if getattr(e, name) < 1:
            raise ExperimentError(f"--{name} {getattr(e, name)}: must be at least 1")
    for name in (
        "max_prompt_length",
        "max_response_length",
        "test_freq",
        "save_freq",
        "tokens_per_micro_batch",
        "parse_fail_steps",
        "max_num_seqs",
    ):
        if getattr(e, name) < 1:
            raise ExperimentError(f"--{name} {getattr(e, name)}: must be at least 1")
    if not 0 < e.rollout_memory < 1:
        raise ExperimentError(
            f"--rollout_memory {e.rollout_memory}: must be between 0 and 1, a share of a GPU's memory"
        )
    if not e.clip_ratio > 0:
        raise ExperimentError(f"--clip_ratio {e.clip_ratio}: must be above 0")
    if e.val_size == 0 or e.val_size < -1:
        raise ExperimentError(f"--val_size {e.val_size}: must be at least 1, or -1 for all of the test file")
    if e.T_hint > e.T:
        raise ExperimentError(
            f"--T_hint {e.T_hint} is past --T {e.T}: hints would never end. Use a T_hint of at most T "
            f"(the UFT paper: 300 of 500)."
        )
    if e.T_hint < 0:
        raise ExperimentError(f"--T_hint {e.T_hint}: must not be negative")
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
            f"sequences, which {ranks} devices cannot share evenly; change --mini_batch_size or --n_rollout"
        )
    if "sft" in e.stages and e.batch_size % ranks:
        raise ExperimentError(f"--batch_size {e.batch_size} cannot be shared evenly by {ranks} devices")
    if ranks % e.tp_size:
        raise ExperimentError(f"--tp_size {e.tp_size} does not divide the {ranks} devices")
    if e.n_rollout == 1 and e.algorithm.compares_rollouts:
        raise ExperimentError("--n_rollout 1: advantages compare the rollouts of a prompt; use at least 2")
    longest = e.prompt_length + e.response_length
    if longest > e.tokens_per_micro_batch:
        raise ExperimentError(
            f"a sequence may have {longest} tokens (prompt {e.prompt_length} + response {e.response_length}), more "
            f"than a micro-batch (--tokens_per_micro_batch {e.tokens_per_micro_batch}); raise it or shorten the lengths"
        )
    if e.alignment.load_in_4bit:
        _check_four_bit(e)
    if e.algorithm.uses_hints and e.max_hint_length < 16:
        raise ExperimentError(f"--max_hint_length {e.max_hint_length}: too short to hold a step of a solution")
    if e.save_freq % e.test_freq:
        raise ExperimentError(
            f"--save_freq {e.save_freq} is not a multiple of --test_freq {e.test_freq}: the best step could not be kept"
        )
    for name in e.logger:
        if name not in LOGGERS:
            raise ExperimentError(f"--logger {name}: unknown{nearest(name, LOGGERS)} Known: {', '.join(LOGGERS)}.")
        if name not in ("console", "file") and importlib.util.find_spec(name) is None:
            raise ExperimentError(f"--logger {name}: the package {name} is not installed; pip install {name}")
    folder = Path(find_model(e.model))
    if folder.exists():
        if not (folder / "config.json").exists():
            raise ExperimentError(f"--model {e.model}: the folder has no config.json; give a Hugging Face model folder")
    elif e.model.startswith((".", "/", "models/", "out/")) or e.model.count("/") != 1:
        raise ExperimentError(f"--model {e.model}: no such folder, and not a Hugging Face name (owner/name)")


def _check_four_bit(experiment: Experiment) -> None:
    e = experiment
    if e.stages != ("alignment",):
        raise ExperimentError(
            f"--load_in_4bit: --algo {e.algo} on {e.data} cannot hold its weights in 4 bits, only alignment stages can "
            f"(sft on answers, dpo, kto, una, una_sft); --lora_rank alone saves the most here"
        )
    if e.device != "cuda":
        raise ExperimentError("--load_in_4bit needs a GPU (bitsandbytes' 4-bit kernels are CUDA's); leave it out")
    if not e.lora_rank:
        raise ExperimentError("--load_in_4bit freezes the weights: add --lora_rank 32, so that something is trained")


def _divisor(total: int, wanted: int) -> int:
    return min((d for d in range(1, total + 1) if total % d == 0), key=lambda d: abs(d - wanted))


def default_profile(device_count: int, wanted: str | None) -> Profile:
    """The profile asked for, or the one that fits the machine. Raises ExperimentError for an unknown name."""
    if wanted is None:
        return detect_profile(device_count, gpu_memory_gb() if device_count else None)
    if wanted not in PROFILES:
        raise ExperimentError(f"--profile {wanted}: unknown{nearest(wanted, PROFILES)} Known: {', '.join(PROFILES)}.")
    return PROFILES[wanted]
