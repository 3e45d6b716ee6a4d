"""Experiment: everything that defines a run, in one frozen, validated value that is saved beside its results."""

import difflib
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from recipes.algorithms import Algorithm, get_algorithm, name_of_shape
from recipes.algorithms.base import HintAggregation, Method, StageKind
from recipes.alignment import Alignment, DataKind
from recipes.tasks import TASKS
from recipes.training_record import TrainingRecord

LOGGERS = ("console", "file", "tensorboard", "wandb", "swanlab", "mlflow", "trackio")


# What a key that an older version did not write stands for.
ABSENT: dict[str, Any] = {"options": {}}


class ExperimentError(ValueError):
    """A run that cannot work: says which flag, why, and what to do."""


@dataclass(frozen=True)
class Experiment:
    """One run. Built by `recipes.resolve.build_experiment`, so that every value is already resolved."""

    algo: str
    """Algorithm: a name in recipes/algorithms."""

    data: str
    """Task name, a file of problems or answers, or a folder holding train.parquet and test.parquet."""

    data_kind: DataKind
    """What its rows are."""

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

    critic_lr: float
    """Learning rate of the critic (ppo)."""

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

    alignment: Alignment
    """Settings of alignment stages and of una_online."""

    data_options: dict[str, Any]
    """Arguments of the data generator."""

    prompt_style: str
    """How questions are put to the model: a name in data_prep/prompt_styles.py."""

    reward: str | None
    """A reward's name, or a user's path.py:function; None goes by each row's data_source."""

    allow_overlap: bool
    """Train although problems of the test file are in the training file."""

    max_reward_error_rate: float
    """Share of a step's answers whose scoring failed at which the run stops."""

    max_timeout_rate: float
    """Share of a step's answers whose verifier ran into its limits at which the run stops."""

    max_parse_fail_rate: float
    """Share of unreadable answers above which, for parse_fail_steps steps in a row, the run stops."""

    parse_fail_steps: int
    """How many such steps in a row."""

    overrides: tuple[str, ...]
    """verl overrides given after --, applied last."""

    options: dict[str, Any] = field(default_factory=dict)
    """The algorithm's own settings (its `options`)."""

    @property
    def algorithm(self) -> Algorithm:
        """The algorithm's definition."""
        return get_algorithm(self.algo)

    @property
    def stages(self) -> tuple[StageKind, ...]:
        """Training stages in order; what trains on answers is one alignment stage, sft on instructions too."""
        return ("alignment",) if self.data_kind == "answers" else self.algorithm.stages

    @property
    def method(self) -> Method:
        """What the alignment stage trains with."""
        return self.algorithm.method or "sft"

    @property
    def prompt_length(self) -> int:
        """verl's prompt: the question, and a hint where the algorithm puts one into it."""
        return self.max_prompt_length + (self.max_hint_length if self.algorithm.hints_in_prompt else 0)

    @property
    def response_length(self) -> int:
        """verl's response: hint and generation. A hint in the question takes nothing off it."""
        given = self.algorithm.uses_hints and not self.algorithm.hints_in_prompt
        return self.max_response_length + (self.max_hint_length if given else 0)

    @property
    def hash(self) -> str:
        """Eight hex digits naming this configuration."""
        values = asdict(self)
        # So that runs made before algorithms had options keep their names.
        values = values if self.options else {name: value for name, value in values.items() if name != "options"}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def default_name(self) -> str:
        """Name of its folder under out/ when --out is not given."""
        return f"{self.algorithm.name}-{Path(self.data).name}-{Path(self.model).name}-{self.hash}"


def supervised_shape(experiment: Experiment) -> str:
    """What another process finds the shape of a supervised loss by; empty where the loss is the likelihood alone."""
    shape = experiment.algorithm.supervised
    return "" if shape is None else name_of_shape(shape, experiment.algo)


def training_record(experiment: Experiment) -> TrainingRecord:
    """What is published beside the weights."""
    e = experiment
    return TrainingRecord(
        algo=e.algo,
        data=e.data if e.data in TASKS else str(Path(e.data).resolve()),
        base_model=e.model,
        prompt_style=e.prompt_style,
        max_prompt_length=e.max_prompt_length,
        max_response_length=e.max_response_length,
    )


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: '; did you mean X?' when a known one is close, else '.'."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


def to_yaml(experiment: Experiment) -> str:
    """The experiment as YAML, in the order of its fields."""
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(experiment).items()}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def from_yaml(text: str) -> Experiment:
    """The experiment saved by `to_yaml`. Raises ExperimentError when its keys are not this version's."""
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError:
        values = None
    if not isinstance(values, dict) or not isinstance(values.get("alignment", {}), dict):
        raise ExperimentError("experiment.yaml is damaged: it holds no settings; start anew in another --out")
    names = {each.name for each in fields(Experiment)}
    values = {**ABSENT, **values}
    odd = set(values) ^ names
    if not odd:
        odd = set(values["alignment"]) ^ {each.name for each in fields(Alignment)}
    if odd:
        raise ExperimentError(
            f"experiment.yaml was written by another version of this repository (differs in: {', '.join(sorted(odd))})"
        )
    restored: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    restored["alignment"] = Alignment(**values["alignment"])
    return Experiment(**restored)
