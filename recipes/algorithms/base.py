"""The interface of an algorithm; each is defined in a single file (docs/algorithms/own.md).

    rollout   what each rollout of a prompt starts from, drawn before generation
    weigh     the weight of each token of a prompt's rollouts in the update, computed once they are scored
    context   messages under which a rollout's log_probs are computed again, once all rollouts are scored
    remember  what later rollouts of a prompt may use from these, and which prompts get an extra supervised update
Every hook is a pure function of its arguments; the defaults are GRPO from the bare prompt. Does not import torch:
run.py reads these files to print --help.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import torch

StageKind = Literal["sft", "rl", "alignment"]
"""sft and rl train on verl, alignment on TRL from completions with feedback."""

Need = Literal["critic", "reference", "group"]
"""What an rl stage requires: a critic, ref_log_prob, or several rollouts per prompt. Whether it needs solutions
follows from `rollout`."""

Method = Literal["sft", "dpo", "kto", "una"]
"""Loss of an alignment stage."""

LossNorm = Literal["tokens", "length"]
"""Divisor of PPO's loss: the tokens it is computed on, or rows times the maximal response length (Dr. GRPO)."""

HintAggregation = Literal["token-mean", "seq-mean-token-sum", "paper"]
"""Normalisation of the hint's log-likelihood: a mean over hint tokens, or a sum over each sequence. In the paper's
equation (3.3) the policy gradient and the KL are such sums as well: "paper" sums all three."""

RolloutCorrection = Literal["none", "token", "sequence"]
"""What is weighted by the ratio of its probabilities in the trainer and in the inference engine."""

Json = Any
"""null, numbers, strings, lists and dicts of these: an algorithm's memory as a checkpoint stores it."""


# --- what a rollout starts from ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bare:
    """The prompt alone."""


IN_PROMPT = "{question}\n\nHere is the beginning of a solution:\n{hint}"
"""How a hint is placed in a question."""


@dataclass(frozen=True)
class Hint:
    """The prompt and the first `segments` of the solution's segments, or the first `share` (0 to 1) of its texts.

    where: the hint starts the response, or is placed in the question as `wrap` says (requires `hints_in_prompt`). In
    the question its tokens are not part of the response, so `Group.given` does not cover them.
    """

    segments: int = 0
    share: float | None = None
    where: Literal["response", "prompt"] = "response"
    wrap: str = IN_PROMPT


@dataclass(frozen=True)
class Demonstration:
    """The complete known solution in place of a rollout. Its score is 1; reward metrics exclude it.

    A prompt without a solution, or with one longer than the maximal response, gets a rollout from the bare prompt.
    """


Plan = Bare | Hint | Demonstration


@dataclass(frozen=True)
class At:
    """What a draw may depend on. Schedules need a setting as their horizon (s.T_hint): T may change on resume."""

    step: int
    """Training step, from 1."""

    segments: int
    """Number of segments of the solution; 0 without a solution."""

    past: Json = None
    """What `remember` stored for this prompt; None before its first visit."""

    common: Json = None
    """What `remember` stored for all prompts; None at the first step."""


# --- token weights --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """The scored rollouts of one prompt: n rows of at most L response tokens."""

    scores: torch.Tensor
    """(n,) float32; 1 for a demonstration, 0 where the reward function failed."""

    ok: torch.Tensor
    """(n,) bool; False where the reward function failed: such a row counts nowhere, whatever `weigh` returns."""

    plans: tuple[Plan, ...]
    """What each row started from."""

    given: torch.Tensor
    """(n, L) bool, hint tokens."""

    gen: torch.Tensor
    """(n, L) bool, generated tokens, except those that rollout correction rejected."""

    demo: torch.Tensor
    """(n, L) bool, tokens of demonstrations."""

    old: torch.Tensor
    """(n, L) old_log_probs, under the policy before the update; 0 on padding."""

    key: str
    """Identifies the prompt in random draws and in memory."""

    step: int
    """Training step, from 1."""

    ref: torch.Tensor | None = None
    """(n, L) ref_log_prob; None without a reference model."""

    segments: int = 0
    """Number of segments of the solution."""

    entropy: torch.Tensor | None = None
    """(n, L) entropy of the policy before the update at each position, in nats."""

    rescored: torch.Tensor | None = None
    """(n, L) log_probs of the same tokens under `context`'s messages; equal to `old` in rows without any."""

    hinted: bool = True
    """Whether a planned hint was in fact given: a short solution may have no text within that share."""

    messages: Sequence[Mapping[str, str]] = ()
    """The prompt, without a hint."""

    solution: str = ""
    """The complete known solution; empty if there is none."""

    texts: tuple[str, ...] = ()
    """Text of each row, given tokens included. Filled only for algorithms with a `context`."""

    unshaped: torch.Tensor | None = None
    """(n,) scores before penalties (overlong answers, verl's KL in rewards); None without penalties."""

    @property
    def verdicts(self) -> torch.Tensor:
        """(n,) rewards without penalties, which decide whether a row is correct."""
        return self.scores if self.unshaped is None else self.unshaped

    @property
    def scored(self) -> torch.Tensor:
        """(n,) bool: generated rows with a reward, among which rewards are compared."""
        return self.ok & self.gen.any(-1)


TermNorm = Literal["tokens", "rows", "sequences", "length"]

Shape = Callable[["torch.Tensor"], "torch.Tensor"]
"""g(p) of a Term: maps probabilities to factors, elementwise. Must be a top-level function, to be found in workers."""


@dataclass(frozen=True)
class Term:
    """A term added to PPO's loss: coef * sum_t w_t g(sg p_t) (-log p_t) / N, p the policy's probability.

    sg stops the gradient. As d(-A f(p)) = A f'(p) p d(-log p), an off-policy objective -A f(p) is a Term as well.
    """

    weights: torch.Tensor
    """(n, L) float, 0 on tokens outside the term."""

    name: str
    """Logged as actor/<name>: the sum without coef."""

    coef: float = 1.0
    """Weight in the loss."""

    shape: Shape | None = None
    """g; None means 1."""

    norm: TermNorm = "tokens"
    """N over the whole batch: tokens (of `over`) or rows with a nonzero weight, all rows with a reward ("sequences"),
    or these times the maximal response length ("length", as PPO's loss with loss_norm "length")."""

    over: torch.Tensor | None = None
    """(n, L) bool: what "tokens" counts; None counts nonzero weights."""

    rewarded: bool = False
    """Whether the weights come from rewards, as advantages do (for uft/updates_without_reward_gradient)."""


@dataclass(frozen=True)
class Weights:
    """How the rollouts of a prompt enter the loss."""

    advantage: torch.Tensor | None = None
    """(n, L) advantages for PPO's loss; None keeps those of verl's estimator (critic or group-relative)."""

    mask: torch.Tensor | None = None
    """(n, L) bool: response_mask for PPO's loss, KL and entropy; None means the generated tokens."""

    terms: tuple[Term, ...] = ()
    """Must have the same names for every prompt of a run."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    """Their means over the step's prompts are logged as uft/<name>."""


@dataclass(frozen=True)
class Rows:
    """A micro-batch as `loss` receives it: n rows of L response tokens, without rows that have no reward."""

    scores: torch.Tensor
    """(n,)"""

    gen: torch.Tensor
    """(n, L) bool, generated tokens"""

    ref: torch.Tensor | None
    """(n, L) ref_log_prob; None without a reference model."""


RowLoss = tuple["torch.Tensor", Mapping[str, "torch.Tensor"]]
"""(n,) losses, averaged over the optimiser step, and (n,) values whose means become metrics."""


# --- the defaults --------------------------------------------------------------------------------------------------


def bare(at: At, s: Any, rng: np.random.Generator) -> Plan:
    """Rollouts start from the prompt."""
    return Bare()


def hint_term(group: Group, s: Any) -> Term:
    """UFT's -c sum log pi(hint token) / N, N the hint tokens or (as in the paper) the rows of the update. Its metric
    is the hint's negative log-likelihood in nats, a mean over tokens or over rows."""
    norm: Literal["tokens", "sequences"] = "tokens" if s.hint_nll_agg == "token-mean" else "sequences"
    return Term(group.given.float(), "hint_nll", coef=s.sft_loss_coef, norm=norm)


def grpo(group: Group, s: Any) -> Weights:
    """Group-relative advantages (verl's estimator "uft") plus the hint's log-likelihood."""
    return Weights(terms=(hint_term(group, s),))


Kept = tuple[Json, Json, Sequence[str]]
"""(past, common, due): the memory of this prompt and of all prompts, and keys of prompts whose solutions are trained on
now, in one supervised update after the step's own (mean -log pi over the tokens of all these solutions)."""


def forget(group: Group, past: Json, common: Json, s: Any) -> Kept:
    """Stores nothing."""
    return None, None, ()


# --- the algorithm ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Algorithm:
    """An algorithm. Its file documents where its numbers come from.

    `s` in the hooks holds the run's settings: each of `options` by name, T_hint, sft_loss_coef, hint_nll_agg, beta,
    una_target, n_rollout, max_response_length (generated tokens), response_length (including the hint). Not T: a run
    may be resumed with more steps, and its draws must not change.
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
    """Training stages in order; each starts from the previous one's weights."""

    needs: frozenset[Need] = frozenset()
    """Requirements of its rl stage."""

    options: type | None = None
    """A dataclass of its own settings: every field becomes a flag, its docstring or metadata["help"] the help text."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Its defaults for other flags."""

    rollout: Callable[[At, Any, np.random.Generator], Plan | list[Plan]] = bare
    """Called once per prompt and step with a generator seeded by (seed, step, prompt). A single plan applies to all
    rollouts; a list has one per rollout, demonstrations included."""

    loss_norm: LossNorm = "tokens"
    """Divisor of PPO's loss."""

    policy_gradient: bool = True
    """False if `weigh` never gives a nonzero advantage: PPO's loss is then omitted, and nothing is clipped."""

    demonstrations: int = 0
    """Rollouts per prompt that are not generated, in addition to --n_rollout generated ones."""

    hints_in_prompt: bool = False
    """Whether hints may be placed in the question; the prompt limit then includes the longest hint and its wrap."""

    wrap: str = IN_PROMPT
    """The longest `Hint.wrap` it uses for hints in the question."""

    context: Callable[[int, Group, Any], Sequence[Mapping[str, str]] | None] | None = None
    """Messages under which row i's log_probs are computed again (-> `Group.rescored`), by an extra forward pass of the
    trainer over the whole batch; None leaves the row as it is."""

    weigh: Callable[[Group, Any], Weights] = grpo
    """Called once per prompt and step, after old_log_probs and ref_log_prob are computed."""

    remember: Callable[[Group, Json, Json, Any], Kept] = forget
    """What this step passes on to later ones; called after the update, in the order of the prompts' keys."""

    loss: Callable[[torch.Tensor, Rows, Any], RowLoss] | None = None
    """Replaces PPO's loss and all terms: maps current log_probs (n, L) to one loss per row."""

    metrics: Callable[[int, Any], Mapping[str, float]] = lambda step, s: {}
    """Metrics uft/<name> that depend only on the step."""

    memory_metrics: Callable[[Mapping[str, Json], Json, Any], Mapping[str, float]] = lambda past, common, s: {}
    """Metrics uft/<name> of the memory after each step: `past` by prompt, for prompts with any, and `common`."""

    supervised: Shape | None = None
    """g of its supervised stage, on problems or instructions: -g(sg p) log p of every solution token; None means 1."""

    method: Method | None = None
    """Loss of its alignment stage."""

    beta: float = 0.1
    """Scale of the implicit reward in alignment stages and una_online; --beta overrides it."""

    alignment_lr: float = 5e-6
    """Peak learning rate of its alignment stage for models of several billion parameters; --lr overrides it."""

    sft_ratio: float = 0.0
    """Instruction rows mixed in per alignment row, with score 1; --sft_ratio overrides it."""

    aliases: tuple[str, ...] = ()
    """Other values of --algo for it."""

    @property
    def uses_hints(self) -> bool:
        """Whether it may use hints or demonstrations."""
        return self.rollout is not bare

    @property
    def compares_rollouts(self) -> bool:
        """Whether its advantages need several rollouts per prompt."""
        return "rl" in self.stages and "group" in self.needs
