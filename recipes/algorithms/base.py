"""The interface of an algorithm, which is a single file (docs/algorithms/own.md).

    rollout   what the rollouts of a prompt start from, drawn before generation
    context   other messages under which a scored rollout's log_probs are recomputed
    weigh     the weight of each token in the update, once all rollouts of a prompt are scored
    remember  what later rollouts may use, and which prompts get an extra supervised update
Hooks are pure functions; the defaults are GRPO from the bare prompt. This file must not import torch: run.py reads it
to print --help.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import torch

StageKind = Literal["sft", "rl", "alignment"]
"""sft and rl train on verl; alignment trains on TRL, from completions with feedback."""

Need = Literal["critic", "reference", "group"]
"""Requirements of an rl stage: a critic, ref_log_prob, several rollouts per prompt. `rollout` tells whether it needs
solutions."""

Method = Literal["sft", "dpo", "kto", "una"]
"""Loss of an alignment stage."""

LossNorm = Literal["tokens", "length"]
"""Divisor of PPO's loss: its tokens, or rows times the maximum response length (Dr. GRPO)."""

HintAggregation = Literal["token-mean", "seq-mean-token-sum", "paper"]
"""Normalisation of the hint's log-likelihood: mean over hint tokens, or sum per sequence. "paper" also sums the policy
gradient and the KL per sequence, as the paper's equation 3.3 does."""

RolloutCorrection = Literal["none", "token", "sequence"]
"""Whether tokens or whole sequences are reweighted by pi_trainer / pi_engine."""

Json = Any
"""null, numbers, strings, and lists and dicts of these: an algorithm's memory, as stored in checkpoints."""


# --- what a rollout starts from ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bare:
    """The prompt alone."""


IN_PROMPT = "{question}\n\nHere is the beginning of a solution:\n{hint}"
"""Template of a question with a hint."""


@dataclass(frozen=True)
class Hint:
    """The prompt and the first `segments` segments of the solution, or the first `share` (0 to 1) of its texts.

    where: "response" starts the response with the hint; "prompt" puts it into the question, formatted by `wrap`
    (requires `hints_in_prompt`). Hint tokens in the question are not in the response, hence not in `Group.given`.
    """

    segments: int = 0
    share: float | None = None
    where: Literal["response", "prompt"] = "response"
    wrap: str = IN_PROMPT


@dataclass(frozen=True)
class Demonstration:
    """The complete known solution instead of a rollout. Its score is 1; reward metrics exclude it.

    If the prompt has no solution, or one longer than the maximum response, it gets a rollout from the bare prompt.
    """


Plan = Bare | Hint | Demonstration


@dataclass(frozen=True)
class At:
    """What a draw may depend on. Not T, which may change on resume: schedules need their own horizon (s.T_hint)."""

    step: int
    """Training step, from 1."""

    segments: int
    """Segments in the solution; 0 without a solution."""

    past: Json = None
    """What `remember` stored for this prompt; None at its first visit."""

    common: Json = None
    """What `remember` stored for all prompts; None at the first step."""


# --- token weights --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """The scored rollouts of one prompt: n rows of at most L response tokens."""

    scores: torch.Tensor
    """(n,) float32; 1 for a demonstration, 0 if the reward function failed."""

    ok: torch.Tensor
    """(n,) bool; False if the reward function failed. Such a row is ignored, whatever `weigh` returns."""

    plans: tuple[Plan, ...]
    """What each row starts from."""

    given: torch.Tensor
    """(n, L) bool: hint tokens."""

    gen: torch.Tensor
    """(n, L) bool: generated tokens, except those rejected by rollout correction."""

    demo: torch.Tensor
    """(n, L) bool: demonstration tokens."""

    old: torch.Tensor
    """(n, L) old_log_probs of the policy before the update; 0 on padding."""

    key: str
    """Identifies the prompt in random draws and in memory."""

    step: int
    """Training step, from 1."""

    ref: torch.Tensor | None = None
    """(n, L) ref_log_prob; None without a reference model."""

    segments: int = 0
    """Segments in the solution."""

    entropy: torch.Tensor | None = None
    """(n, L) entropy per token of the policy before the update, in nats."""

    rescored: torch.Tensor | None = None
    """(n, L) log_probs of the same tokens under `context`'s messages; equal to `old` on rows without any."""

    hinted: bool = True
    """Whether a planned hint was actually given: a short solution may have no text within the share."""

    messages: Sequence[Mapping[str, str]] = ()
    """The prompt, without a hint."""

    solution: str = ""
    """The complete known solution; empty without one."""

    texts: tuple[str, ...] = ()
    """Text of each row, including given tokens; only for algorithms with a `context`."""

    unshaped: torch.Tensor | None = None
    """(n,) scores before penalties (overlong answers, verl's KL in the reward); None without penalties."""

    @property
    def verdicts(self) -> torch.Tensor:
        """(n,) rewards without penalties; they decide whether a row is correct."""
        return self.scores if self.unshaped is None else self.unshaped

    @property
    def scored(self) -> torch.Tensor:
        """(n,) bool: generated rows with a reward; only these are compared."""
        return self.ok & self.gen.any(-1)


TermNorm = Literal["tokens", "rows", "sequences", "length"]

Shape = Callable[["torch.Tensor"], "torch.Tensor"]
"""g(p) of a Term: maps probabilities to factors, elementwise. A top-level function, so that workers can import it."""


@dataclass(frozen=True)
class Term:
    """A term added to PPO's loss: coef * sum_t w_t g(sg p_t) (-log p_t) / N, p the policy's probability.

    sg stops the gradient. Since d(-A f(p)) = A f'(p) p d(-log p), an off-policy objective -A f(p) is a Term too.
    """

    weights: torch.Tensor
    """(n, L) float; 0 on tokens outside the term."""

    name: str
    """The sum without coef is logged as actor/<name>."""

    coef: float = 1.0
    """Weight in the loss."""

    shape: Shape | None = None
    """g; None means 1."""

    norm: TermNorm = "tokens"
    """N over the whole batch: tokens (see `over`) or rows with a nonzero weight; "sequences": all rows with a reward;
    "length": those times the maximum response length, like PPO's loss with loss_norm "length"."""

    over: torch.Tensor | None = None
    """(n, L) bool: the tokens counted by "tokens"; None: those with a nonzero weight."""

    rewarded: bool = False
    """Whether the weights depend on rewards, as advantages do (for uft/updates_without_reward_gradient)."""


@dataclass(frozen=True)
class Weights:
    """How the rollouts of a prompt enter the loss."""

    advantage: torch.Tensor | None = None
    """(n, L) advantages in PPO's loss; None keeps those of verl's estimator (critic or group-relative)."""

    mask: torch.Tensor | None = None
    """(n, L) bool: response_mask of PPO's loss, KL and entropy; None: the generated tokens."""

    terms: tuple[Term, ...] = ()
    """Must have the same names for all prompts of a run."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    """Logged as uft/<name>, averaged over the step's prompts."""


@dataclass(frozen=True)
class Rows:
    """A micro-batch as passed to `loss`: n rows of L response tokens; rows without a reward are left out."""

    scores: torch.Tensor
    """(n,)"""

    gen: torch.Tensor
    """(n, L) bool: generated tokens."""

    ref: torch.Tensor | None
    """(n, L) ref_log_prob; None without a reference model."""


RowLoss = tuple["torch.Tensor", Mapping[str, "torch.Tensor"]]
"""(n,) losses, averaged over the optimiser step, and (n,) values whose means are logged."""


# --- the defaults --------------------------------------------------------------------------------------------------


def bare(at: At, s: Any, rng: np.random.Generator) -> Plan:
    """Rollouts start from the bare prompt."""
    return Bare()


def hint_term(group: Group, s: Any) -> Term:
    """UFT's -c sum log pi(hint token) / N, where N counts the hint tokens or (as in the paper) the rows of the update.
    Its metric is the hint's NLL in nats, averaged likewise."""
    norm: Literal["tokens", "sequences"] = "tokens" if s.hint_nll_agg == "token-mean" else "sequences"
    return Term(group.given.float(), "hint_nll", coef=s.sft_loss_coef, norm=norm)


def grpo(group: Group, s: Any) -> Weights:
    """Group-relative advantages (verl's estimator "uft") plus the hint's log-likelihood."""
    return Weights(terms=(hint_term(group, s),))


Kept = tuple[Json, Json, Sequence[str]]
"""(past, common, due): the memory of this prompt, that of all prompts, and the keys of prompts whose solutions are
trained on next, in one supervised update after the step's own (-log pi averaged over all their tokens)."""


def forget(group: Group, past: Json, common: Json, s: Any) -> Kept:
    """Stores nothing."""
    return None, None, ()


# --- the algorithm ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Algorithm:
    """An algorithm. Its file states the sources of its numbers.

    `s` in the hooks holds settings of the run: each of `options` by name, T_hint, sft_loss_coef, hint_nll_agg, beta,
    una_target, n_rollout, max_response_length (generated tokens) and response_length (including the hint). T is not
    among them: resuming with more steps must not change the draws.
    """

    name: str
    """Value of --algo."""

    title: str
    """One line for tables and --help."""

    paper: str
    """Paper that defines it."""

    equation: str
    """The rule in one line."""

    stages: tuple[StageKind, ...]
    """Training stages in order; each starts from the weights of the previous one."""

    needs: frozenset[Need] = frozenset()
    """Requirements of its rl stage."""

    options: type | None = None
    """A dataclass of its own settings: each field becomes a flag, its docstring or metadata["help"] the help text."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Its defaults for other flags."""

    rollout: Callable[[At, Any, np.random.Generator], Plan | list[Plan]] = bare
    """Called once per prompt and step, with a generator seeded by (seed, step, prompt). Returns one plan for all
    rollouts, or a list with one per rollout, demonstrations included."""

    loss_norm: LossNorm = "tokens"
    """Divisor of PPO's loss."""

    policy_gradient: bool = True
    """False if `weigh` never gives a nonzero advantage: PPO's loss is then skipped, and nothing is clipped."""

    demonstrations: int = 0
    """Demonstrations per prompt, in addition to --n_rollout generated rollouts."""

    hints_in_prompt: bool = False
    """Whether hints may be put into the question; the prompt limit then includes the longest hint and its wrap."""

    wrap: str = IN_PROMPT
    """The longest `Hint.wrap` it uses."""

    context: Callable[[int, Group, Any], Sequence[Mapping[str, str]] | None] | None = None
    """Messages under which row i's log_probs are recomputed (-> `Group.rescored`), in an extra forward pass of the
    trainer over the whole batch; None skips the row."""

    weigh: Callable[[Group, Any], Weights] = grpo
    """Called once per prompt and step, after old_log_probs and ref_log_prob are computed."""

    remember: Callable[[Group, Json, Json, Any], Kept] = forget
    """What later steps may use; called after the update, in order of the prompts' keys."""

    loss: Callable[[torch.Tensor, Rows, Any], RowLoss] | None = None
    """Replaces PPO's loss and all terms: maps the current log_probs (n, L) to one loss per row."""

    metrics: Callable[[int, Any], Mapping[str, float]] = lambda step, s: {}
    """Metrics uft/<name> that depend only on the step."""

    memory_metrics: Callable[[Mapping[str, Json], Json, Any], Mapping[str, float]] = lambda past, common, s: {}
    """Metrics uft/<name> of the memory after each step: `past` by prompt (only prompts with any), and `common`."""

    supervised: Shape | None = None
    """g of its supervised stage, on problems or instructions: -g(sg p) log p per solution token; None means 1."""

    method: Method | None = None
    """Loss of its alignment stage."""

    beta: float = 0.1
    """Scale of the implicit reward in alignment stages and in una_online; --beta overrides it."""

    alignment_lr: float = 5e-6
    """Peak learning rate of its alignment stage for models of several billion parameters; --lr overrides it."""

    sft_ratio: float = 0.0
    """Instruction rows (score 1) mixed in per alignment row; --sft_ratio overrides it."""

    aliases: tuple[str, ...] = ()
    """Other names accepted by --algo."""

    @property
    def uses_hints(self) -> bool:
        """Whether it may use hints or demonstrations."""
        return self.rollout is not bare

    @property
    def compares_rollouts(self) -> bool:
        """Whether its advantages require several rollouts per prompt."""
        return "rl" in self.stages and "group" in self.needs
