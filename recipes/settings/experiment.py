"""Experiment: everything that defines a run, in one frozen, validated value saved with its results.

Its fields declare the training settings and their flags (recipes/settings/declare.py).
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from data_prep.demonstrations import Demonstrations, Errors, Whose
from recipes.algorithms import Algorithm, get_algorithm
from recipes.algorithms.base import HintAggregation, Method, RolloutCorrection, StageKind
from recipes.common.values import a_rate, a_seed, a_share, above, at_least, between, not_negative, one_seed, positive
from recipes.settings.alignment import Alignment, DataKind
from recipes.settings.applies import (
    by_score,
    by_variance,
    clipped,
    clock,
    critic,
    draws,
    hint_term,
    hints_or_supervised,
    ppo,
    problems,
    rl,
    solutions,
    supervised,
    validates,
    validations,
    verl,
)
from recipes.settings.data_sets import data_title
from recipes.settings.declare import ABSENT, From, Setting, declared, setting
from recipes.settings.trackers import PROJECT

_RATE = between(0, 1, " (1 never stops a run)", ends=True)
_RECORDS = "validation, checkpoints, records"


@dataclass(frozen=True)
class Experiment:
    """One run, with every value resolved by `recipes.flags.resolve.build_experiment`."""

    algo: str = setting("run", "uft")
    """Algorithm (listed below) or your own file (path/mine.py)."""

    data: str = setting("run", "countdown", evaluates=True)
    """Task (listed below), file, folder, hub data set owner/name[/part][:split], or mixture a:0.7,b:0.3."""

    data_kind: DataKind = setting()
    """Kind of its rows."""

    model: str = setting("run", From.MACHINE, evaluates=True)
    """Base model: Hugging Face name or folder; with --eval also a run, checkpoint or adapter."""

    profile: str = setting()
    """Hardware profile the defaults come from."""

    device: Literal["cpu", "cuda"] = setting(default=From.MACHINE)
    """Device of verl and vLLM."""

    T: int = setting("reinforcement", From.MACHINE, applies=rl, check=at_least(1), may_change=True)
    """Reinforcement steps."""

    T_hint: int = setting("hints", applies=clock, check=not_negative)
    """Last step with hinted rollouts (chord_mu, prefix_rft: end of the schedule); at most --T."""

    n_rollout: int = setting("reinforcement", From.MACHINE, applies=rl, check=at_least(1), aliases=("n_rollouts",))
    """Rollouts per prompt."""

    sft_loss_coef: float = setting("hints", 0.0, applies=hint_term, check=not_negative)
    """Weight of the hint's negative log-likelihood (c in recipes/algorithms/uft.py)."""

    hint_nll_agg: HintAggregation = setting("hints", "token-mean", applies=hint_term)
    """Its normalisation: mean over hint tokens, sum per sequence, or the paper's (such sums for the entire loss)."""

    batch_size: int = setting("run", check=at_least(1))
    """Prompts per step; for training on answers, rows (pairs, for pairwise feedback) per optimiser step."""

    mini_batch_size: int = setting("reinforcement", applies=rl, check=at_least(1))
    """Prompts per optimiser update."""

    lr: float = setting("run", From.MACHINE, check=a_rate)
    """Learning rate: constant in reinforcement (also in sft_rft), otherwise the peak (10 % warm-up, cosine)."""

    sft_lr: float = setting("supervised learning", From.MACHINE, applies=supervised, check=a_rate)
    """Peak learning rate of supervised stages; same as --lr for sft."""

    sft_epochs: int = setting("supervised learning", From.MACHINE, applies=supervised, check=at_least(1))
    """Passes over the training file in supervised stages; same as --epochs for sft."""

    critic_lr: float = setting("reinforcement", From.MACHINE, applies=critic, check=a_rate)
    """Learning rate of the critic."""

    kl_coef: float = setting("reinforcement", 0.001, applies=ppo, check=not_negative)
    """Weight of KL(pi || pi_ref) in the loss, estimator k3."""

    entropy_coef: float = setting("reinforcement", 0.001, applies=ppo, check=between(-1, 1, "", ends=True))
    """Weight of the entropy bonus."""

    clip_ratio: float = setting(
        "reinforcement", 0.2, applies=clipped, check=between(0, 1, ", as the lower bound is 1 - clip_ratio")
    )
    """PPO's clip range of the probability ratio."""

    temperature: float = setting("reinforcement", 1.0, applies=draws, check=not_negative, evaluates=True)
    """Sampling temperature of training rollouts and --val_samples; without the latter, validation is greedy."""

    max_prompt_length: int = setting("prompts and lengths", From.TASK, check=at_least(1), evaluates=True)
    """Maximum prompt length in tokens."""

    max_hint_length: int = setting("hints", From.TASK, applies=hints_or_supervised, check=not_negative)
    """Maximum hint length in tokens."""

    max_response_length: int = setting("prompts and lengths", From.TASK, check=at_least(1), evaluates=True)
    """Maximum number of generated tokens, excluding the hint."""

    n_gpu: int = setting("machine", From.MACHINE, check=at_least(1))
    """Devices per node (on CPU: data-parallel ranks)."""

    nnodes: int = setting("machine", 1, applies=rl, check=at_least(1))
    """Nodes of the Ray cluster at RAY_ADDRESS."""

    tp_size: int = setting("machine", 1, applies=rl, check=at_least(1))
    """Tensor-parallel size of the inference engine."""

    dtype: Literal["float32", "bfloat16"] = setting("machine", From.MACHINE, evaluates=True)
    """Precision of the inference engine and of matrix multiplications in training."""

    tokens_per_micro_batch: int = setting("machine", From.MACHINE, applies=problems, check=at_least(1), may_change=True)
    """Tokens per device in one pass of training."""

    rollout_memory: float = setting(
        "machine", From.MACHINE, check=between(0, 1, ", a share of a GPU's memory"), evaluates=True, may_change=True
    )
    """Fraction of GPU memory for vLLM's weights and KV cache."""

    max_num_seqs: int = setting("machine", From.MACHINE, applies=rl, check=at_least(1), may_change=True)
    """Maximum number of sequences that vLLM decodes concurrently."""

    lora_rank: int = setting("adapters", From.MACHINE, check=not_negative)
    """LoRA rank; 0 trains all weights."""

    seed: int = setting("run", 0, read=one_seed, check=a_seed, evaluates=True)
    """Seed for data order, hints and sampling."""

    test_freq: int = setting(_RECORDS, check=at_least(1), may_change=True)
    """Steps between validations."""

    save_freq: int = setting(_RECORDS, check=at_least(1), may_change=True)
    """Steps between checkpoints, a multiple of --test_freq; default: --test_freq."""

    val_size: int = setting(_RECORDS, -1, check=at_least(1, "all of the test file"), evaluates=True)
    """Validation problems, the same ones in all runs, stages and evaluations for any --seed; -1: all."""

    keep_checkpoints: int = setting(_RECORDS, 2, check=at_least(1), may_change=True)
    """Checkpoints kept on disk, besides the best step's weights."""

    log_rollouts: int = setting(_RECORDS, 8, applies=rl, check=at_least(0, "all of them"), may_change=True)
    """Training rollouts written to rollouts/<step>.jsonl per step; -1: all."""

    logger: tuple[str, ...] = setting(_RECORDS, ("console", "file", "tensorboard"), may_change=True)
    """Where metrics go besides metrics.jsonl, comma-separated (listed below)."""

    alignment: Alignment = setting()
    """Settings of alignment stages and of una_online."""

    data_options: dict[str, Any] = setting()
    """Arguments of the data generator."""

    prompt_style: str = setting("prompts and lengths", evaluates=True)
    """How questions are formatted for the model (listed below); the default depends on the model."""

    reward: str | None = setting("data and reward", applies=problems, evaluates=True)
    """Reward (listed below) or path/to/file.py:function; the default depends on each row's data_source."""

    allow_overlap: bool = setting("data and reward", False, may_change=True)
    """Train even if the training file contains test problems."""

    max_reward_error_rate: float = setting("reward failures", 0.05, applies=rl, check=_RATE, may_change=True)
    """Stop the run when scoring fails for this share of a step's answers."""

    max_timeout_rate: float = setting("reward failures", 0.2, applies=rl, check=_RATE, may_change=True)
    """Stop the run when the verifier reaches its limits for this share of a step's answers."""

    max_parse_fail_rate: float = setting("reward failures", 0.99, applies=rl, check=_RATE, may_change=True)
    """Stop the run when more than this share of answers is unreadable for --parse_fail_steps steps in a row."""

    parse_fail_steps: int = setting("reward failures", 50, applies=rl, check=at_least(1), may_change=True)
    """Number of such steps in a row."""

    overrides: tuple[str, ...] = setting(default=())
    """verl overrides given after --, applied last."""

    options: dict[str, Any] = setting(absent={})
    """The algorithm's own settings (its `options`)."""

    demonstrations: float = setting("data and reward", 1.0, applies=solutions, check=a_share, absent=1.0)
    """Share of training problems that keep their solution (docs/tasks/chain.md)."""

    demonstration_noise: float = setting("data and reward", 0.0, applies=solutions, check=a_share, absent=0.0)
    """Probability that a solution step is replaced by a wrong one."""

    demonstration_errors: Errors = setting("data and reward", "random", applies=solutions, absent="random")
    """repeated: all solutions make the same errors, a part of the rule learned wrongly (--data chain)."""

    hints: Whose = setting("data and reward", "own", applies=solutions, absent="own")
    """Solution shown for a problem: its own, or another problem's as a control (sham)."""

    val_samples: int = setting(_RECORDS, 0, applies=validates, check=not_negative, absent=0)
    """Answers sampled per validation problem at --temperature, besides the greedy one; 0: greedy only."""

    own_texts: int = setting(_RECORDS, 128, check=not_negative, may_change=True, absent=128)
    """Base-model samples used after training to measure forgetting; 0 skips the measurement."""

    dual_clip: float | None = setting("reinforcement", None, applies=clipped, check=above(1), absent=3.0)
    """Upper bound of the ratio for negative advantages (verl's clip_ratio_c, 3); unbounded if not given."""

    val_data: str | None = setting("data and reward", None, metavar="A,B", absent=None)
    """Comma-separated tasks, files and folders to validate on instead of --data's test part; metrics for each."""

    rollout_correction: RolloutCorrection = setting("reinforcement", "none", applies=ppo, absent="none")
    """Weight tokens or rollouts by pi_trainer / pi_engine (truncated importance sampling) where they differ."""

    rollout_correction_clip: float = setting("reinforcement", 2.0, applies=ppo, check=positive, absent=2.0)
    """Upper bound of these weights."""

    clip_ratio_high: float | None = setting("reinforcement", None, applies=clipped, check=positive, absent=None)
    """Upper clipping range (DAPO's clip-higher, .28); default: --clip_ratio."""

    overlong_buffer: int = setting("reinforcement", 0, applies=by_score, check=not_negative, absent=0)
    """Tokens before --max_response_length over which scores decrease (DAPO's overlong shaping); 0: off."""

    overlong_penalty: float = setting("reinforcement", 1.0, applies=by_score, check=positive, absent=1.0)
    """Score reduction reached at --max_response_length."""

    dynamic_sampling: bool = setting("reinforcement", False, applies=by_variance, absent=False)
    """Replace prompts whose rollouts all have the same reward with the next prompts in the data (DAPO)."""

    dynamic_sampling_rounds: int = setting("reinforcement", 3, applies=by_variance, check=at_least(2), absent=3)
    """Maximum rounds of generation per step for this, including the first."""

    project: str = setting(_RECORDS, PROJECT, may_change=True, absent=PROJECT)
    """Project in wandb, swanlab, mlflow and trackio."""

    run_name: str | None = setting(_RECORDS, None, may_change=True, absent=None)
    """Name of the run there; default: the folder's name."""

    early_stopping: int = setting(_RECORDS, 0, applies=validations, check=not_negative, may_change=True, absent=0)
    """End a stage after this many validations in a row without a new best accuracy (or loss); 0: never."""

    rollout_seeds: Literal["auto", "each", "engine"] = setting(
        "reinforcement", "auto", applies=rl, may_change=True, absent="auto"
    )
    """One seed per rollout (each: a repeated run generates the same texts) or for the engine; auto: each on CPU only,
    because vLLM samples seeded rows one by one on a GPU."""

    hf_dtype: Literal["float32", "bfloat16"] = setting(
        _RECORDS, "float32", applies=verl, may_change=True, absent="float32"
    )
    """Precision of the published weights (hf/): as trained, or half the size, as in a GPU's engine."""

    @property
    def seeds_rollouts(self) -> bool:
        """Whether each rollout has its own seed."""
        return self.rollout_seeds == "each" or (self.rollout_seeds == "auto" and self.device == "cpu")

    @property
    def algorithm(self) -> Algorithm:
        """The algorithm's definition."""
        return get_algorithm(self.algo)

    @property
    def stages(self) -> tuple[StageKind, ...]:
        """Training stages in order; training on answers is one alignment stage, including sft on instructions."""
        return ("alignment",) if self.data_kind == "answers" else self.algorithm.stages

    @property
    def method(self) -> Method:
        """The alignment stage's method."""
        return self.algorithm.method or "sft"

    @property
    def solutions_left(self) -> Demonstrations:
        """Which of the data's solutions are kept."""
        return Demonstrations(self.demonstrations, self.demonstration_noise, self.hints, self.demonstration_errors)

    @property
    def prompt_length(self) -> int:
        """verl's prompt length: the question and, if the algorithm adds a hint to it, the hint and words around it."""
        if not self.algorithm.hints_in_prompt:
            return self.max_prompt_length
        # A token has at least one byte; the tokenizer is not known here.
        return self.max_prompt_length + self.max_hint_length + len(self.algorithm.wrap.encode())

    @property
    def response_length(self) -> int:
        """verl's response length: generation plus a hint that is not in the question."""
        given = self.algorithm.uses_hints and not self.algorithm.hints_in_prompt
        return self.max_response_length + (self.max_hint_length if given else 0)

    @property
    def hash(self) -> str:
        """Eight hex digits identifying this configuration."""
        # Settings unknown to older versions are omitted if they have no effect, so that runs keep their names.
        values = self._telling(Experiment, asdict(self))
        values["alignment"] = self._telling(Alignment, values["alignment"])
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]

    def _telling(self, cls: type, values: dict[str, Any]) -> dict[str, Any]:
        def tells(of: Setting) -> bool:
            return of.absent is ABSENT or (values[of.name] != of.absent and of.applies(self.algorithm, self.stages))

        return {name: value for name, value in values.items() if tells(declared(cls)[name])}

    @property
    def default_name(self) -> str:
        """Name of its folder under out/ without --out."""
        return f"{self.algorithm.name}-{data_title(self.data)}-{Path(self.model).name}-{self.hash}"
