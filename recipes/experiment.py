"""Experiment: everything that defines a run, in one frozen, validated value that is saved beside its results."""

import difflib
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from recipes.algorithms import Algorithm, algorithms, get_algorithm
from recipes.algorithms.base import HintAggregation
from recipes.profiles import PROFILES, Profile
from recipes.tasks import TASKS

LOGGERS = ("console", "file", "tensorboard", "wandb", "swanlab", "mlflow", "trackio")


class ExperimentError(ValueError):
    """A run that cannot work: says which flag, why, and what to do."""


@dataclass(frozen=True)
class Experiment:
    """One run. Built by `build_experiment`, so that every value is already resolved."""

    algo: str
    """Algorithm: a name in recipes/algorithms."""

    data: str
    """Task name, or a folder holding train.parquet and test.parquet."""

    model: str
    """Hugging Face name or folder of the base model."""

    profile: str
    """Hardware profile the defaults came from."""

    device: Literal["cpu", "cuda"]
    """Where verl and vLLM compute."""

    T: int
    """Reinforcement steps."""

    T_hint: int
    """Step after which no rollout starts from a hint."""

    n_rollout: int
    """Rollouts a prompt."""

    sft_loss_coef: float
    """Weight of the hint's negative log-likelihood (c in recipes/algorithms/uft.py)."""

    hint_nll_agg: HintAggregation
    """Its normalisation: mean over hint tokens, or the paper's sum over a sequence."""

    batch_size: int
    """Prompts a step."""

    mini_batch_size: int
    """Prompts an optimiser update."""

    lr: float
    """Learning rate of reinforcement stages (constant, no warm-up)."""

    sft_lr: float
    """Peak learning rate of supervised stages (10 % warm-up, cosine)."""

    sft_epochs: int
    """Passes over the training file in supervised stages."""

    kl_coef: float
    """Weight of KL(pi || pi_ref) in the loss, estimator k3."""

    entropy_coef: float
    """Weight of the entropy bonus."""

    clip_ratio: float
    """PPO clipping of the probability ratio."""

    temperature: float
    """Sampling temperature of training rollouts; validation is greedy."""

    max_prompt_length: int
    """Longest prompt in tokens."""

    max_hint_length: int
    """Longest hint in tokens."""

    max_response_length: int
    """Most generated tokens, hint not counted."""

    n_gpu: int
    """Devices a node (on the CPU: data-parallel ranks)."""

    nnodes: int
    """Nodes of the Ray cluster."""

    tp_size: int
    """Tensor-parallel size of the inference engine."""

    dtype: Literal["float32", "bfloat16"]
    """Precision of the inference engine and of matrix products in training."""

    tokens_per_micro_batch: int
    """Tokens a device trains on at once."""

    rollout_memory: float
    """Share of device memory for vLLM."""

    max_num_seqs: int
    """Sequences vLLM decodes at once."""

    lora_rank: int
    """0 trains all weights."""

    seed: int
    """Seeds data order, hints and sampling."""

    test_freq: int
    """Steps between validations."""

    save_freq: int
    """Steps between checkpoints; a multiple of test_freq."""

    val_size: int
    """Validation problems; -1 is all of the test file."""

    keep_checkpoints: int
    """Checkpoints kept on disk (weights of the best step are kept besides)."""

    log_rollouts: int
    """Training rollouts of every step written to rollouts/<step>.jsonl; -1 is all of them."""

    logger: tuple[str, ...]
    """Where metrics go besides metrics.jsonl."""

    data_options: dict[str, Any]
    """Arguments of the data generator."""

    overrides: tuple[str, ...]
    """verl overrides given after --, applied last."""

    @property
    def algorithm(self) -> Algorithm:
        """The algorithm's definition."""
        return get_algorithm(self.algo)

    @property
    def response_length(self) -> int:
        """verl's response: hint and generation."""
        return self.max_response_length + (self.max_hint_length if self.algorithm.uses_hints else 0)

    @property
    def hash(self) -> str:
        """Eight hex digits naming this configuration."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]

    @property
    def default_name(self) -> str:
        """Name of its folder under out/ when --out is not given."""
        return f"{self.algo}-{Path(self.data).name}-{Path(self.model).name}-{self.hash}"


def nearest(word: str, known: Iterable[str]) -> str:
    """'; did you mean X?' when a known word is close, else ''."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


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
    data = given.pop("data", "countdown")
    if data not in TASKS and not Path(data).is_dir():
        raise ExperimentError(
            f"--data {data}: neither a task nor a folder{nearest(data, TASKS)} Tasks: {', '.join(TASKS)}; "
            f"a folder must hold train.parquet and test.parquet."
        )
    task = TASKS.get(data) or TASKS.get(Path(data).name) or TASKS["countdown"]
    test_freq = given.get("test_freq", min(profile.test_freq, given.get("T", profile.T)))
    values: dict[str, Any] = {
        "algo": algorithm.name,
        "data": data,
        "model": profile.model,
        "profile": profile.name,
        "device": profile.device,
        "T": profile.T,
        "T_hint": min(profile.T_hint, given.get("T", profile.T)),
        "n_rollout": profile.n_rollout,
        "sft_loss_coef": algorithm.hint_nll_coef,
        "hint_nll_agg": "token-mean",
        "batch_size": profile.batch_size,
        "mini_batch_size": min(profile.mini_batch_size, given.get("batch_size", profile.batch_size)),
        "lr": profile.lr,
        "sft_lr": profile.sft_lr,
        "sft_epochs": profile.sft_epochs,
        "kl_coef": 0.001,
        "entropy_coef": 0.001,
        "clip_ratio": 0.2,
        "temperature": 1.0,
        "max_prompt_length": task.max_prompt_length,
        "max_hint_length": profile.max_hint_length or task.max_hint_length,
        "max_response_length": profile.max_response_length or task.max_response_length,
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
        "data_options": profile.data_options.get(task.name, {}) if data in TASKS else {},
        "overrides": (),
    }
    unknown = sorted(set(given) - set(values))
    if unknown:
        raise ExperimentError(f"{unknown[0]}: no such setting{nearest(unknown[0], values)}")
    values.update(given)
    experiment = Experiment(**values)
    check(experiment)
    return experiment


def check(experiment: Experiment) -> None:
    """Raise ExperimentError for a run that cannot work."""
    e = experiment
    for name in ("T", "n_rollout", "batch_size", "mini_batch_size", "sft_epochs", "n_gpu", "nnodes", "tp_size"):
        if getattr(e, name) < 1:
            raise ExperimentError(f"--{name} {getattr(e, name)}: must be at least 1")
    for name in ("max_prompt_length", "max_response_length", "test_freq", "save_freq", "tokens_per_micro_batch"):
        if getattr(e, name) < 1:
            raise ExperimentError(f"--{name} {getattr(e, name)}: must be at least 1")
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
    if e.mini_batch_size * e.n_rollout % ranks:
        raise ExperimentError(
            f"an update has {e.mini_batch_size} prompts x {e.n_rollout} rollouts = {e.mini_batch_size * e.n_rollout} "
            f"sequences, which {ranks} devices cannot share evenly; change --mini_batch_size or --n_rollout"
        )
    if "sft" in e.algorithm.stages and e.batch_size % ranks:
        raise ExperimentError(f"--batch_size {e.batch_size} cannot be shared evenly by {ranks} devices")
    if ranks % e.tp_size:
        raise ExperimentError(f"--tp_size {e.tp_size} does not divide the {ranks} devices")
    if e.n_rollout == 1 and "rl" in e.algorithm.stages:
        raise ExperimentError("--n_rollout 1: advantages compare the rollouts of a prompt; use at least 2")
    longest = e.max_prompt_length + e.response_length
    if longest > e.tokens_per_micro_batch:
        raise ExperimentError(
            f"a sequence may have {longest} tokens (prompt {e.max_prompt_length} + response {e.response_length}), more "
            f"than a micro-batch (--tokens_per_micro_batch {e.tokens_per_micro_batch}); raise it or shorten the lengths"
        )
    if e.algorithm.uses_hints and e.max_hint_length < 16:
        raise ExperimentError(f"--max_hint_length {e.max_hint_length}: too short to hold a step of a solution")
    if e.save_freq % e.test_freq:
        raise ExperimentError(
            f"--save_freq {e.save_freq} is not a multiple of --test_freq {e.test_freq}: the best step could not be kept"
        )
    for name in e.logger:
        if name not in LOGGERS:
            raise ExperimentError(f"--logger {name}: unknown{nearest(name, LOGGERS)} Known: {', '.join(LOGGERS)}.")
    if Path(e.model).exists():
        if not (Path(e.model) / "config.json").exists():
            raise ExperimentError(f"--model {e.model}: the folder has no config.json; give a Hugging Face model folder")
    elif e.model.startswith((".", "/", "models/", "out/")) or e.model.count("/") != 1:
        raise ExperimentError(f"--model {e.model}: no such folder, and not a Hugging Face name (owner/name)")


def _divisor(total: int, wanted: int) -> int:
    return min((d for d in range(1, total + 1) if total % d == 0), key=lambda d: abs(d - wanted))


def to_yaml(experiment: Experiment) -> str:
    """The experiment as YAML, in the order of its fields."""
    values = {
        field.name: (list(value) if isinstance(value := getattr(experiment, field.name), tuple) else value)
        for field in fields(experiment)
    }
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def from_yaml(text: str) -> Experiment:
    """The experiment saved by `to_yaml`. Raises ExperimentError when its keys are not this version's."""
    values = yaml.safe_load(text)
    names = {field.name for field in fields(Experiment)}
    if set(values) != names:
        odd = ", ".join(sorted(set(values) ^ names))
        raise ExperimentError(f"experiment.yaml was written by another version of this repository (differs in: {odd})")
    restored: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return Experiment(**restored)


def default_profile(device_count: int, wanted: str | None) -> Profile:
    """The profile asked for, or the one that fits the machine. Raises ExperimentError for an unknown name."""
    from recipes.profiles import detect_profile

    if wanted is None:
        return detect_profile(device_count)
    if wanted not in PROFILES:
        raise ExperimentError(f"--profile {wanted}: unknown{nearest(wanted, PROFILES)} Known: {', '.join(PROFILES)}.")
    return PROFILES[wanted]
