"""The contract: what an algorithm is. One file holds one, whole (docs/algorithms/own.md).

    rollout   what each rollout of a prompt starts from, drawn before generation
    weigh     what each token of a prompt's rollouts counts in the update, known once they are scored
    context   under which other text a rollout is scored once more, known once all are scored
    remember  what the next rollouts of a prompt may know of these, and which prompts get one more supervised update
Every hook is a pure function of its arguments; all have defaults, which are GRPO from the bare prompt. Imports no
torch: run.py reads these files to print --help.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import torch

StageKind = Literal["sft", "rl", "alignment"]
"""sft and rl train on verl, alignment on TRL from rows of completions and what is known of them."""

Need = Literal["critic", "reference", "group"]
"""What an rl stage cannot do without: a critic's advantages, log-probabilities of the reference model, or several
rollouts of each prompt. That it needs solutions is seen from `rollout`."""

Method = Literal["sft", "dpo", "kto", "una"]
"""What an alignment stage trains with."""

LossNorm = Literal["tokens", "length"]
"""What PPO's loss is a mean of: the tokens it is taken on, or rows times the longest response (Dr. GRPO's)."""

HintAggregation = Literal["token-mean", "seq-mean-token-sum", "paper"]
"""How the hint's log-likelihood is normalised: a mean over hint tokens, or a sum over a sequence. In the paper's
equation (3.3) the policy gradient and the KL are such sums too: "paper" sums all of them."""

RolloutCorrection = Literal["none", "token", "sequence"]
"""What is weighed by how likely it is under the trainer's weights next to the engine's."""

Json = Any
"""null, numbers, strings, lists and dicts of these: what a checkpoint can hold of an algorithm's memory."""


# --- what a rollout starts from ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bare:
    """The prompt alone."""


IN_PROMPT = "{question}\n\nHere is the beginning of a solution:\n{hint}"
"""How a hint stands in a question."""


@dataclass(frozen=True)
class Hint:
    """The prompt and the first `segments` of the solution's segments, or the first `share` (0 to 1) of its texts.

    where: the hint begins the response, or stands in the question as `wrap` says (an algorithm with such plans sets
    `hints_in_prompt`). In the question its tokens are given, not trained: `Group.given` is False there.
    """

    segments: int = 0
    share: float | None = None
    where: Literal["response", "prompt"] = "response"
    wrap: str = IN_PROMPT


@dataclass(frozen=True)
class Demonstration:
    """The known solution, whole, in the place of a rollout. Its score is 1; it is in no metric of rewards.

    A prompt without a solution, or one longer than a response may be, gets a rollout from the bare prompt instead.
    """


Plan = Bare | Hint | Demonstration


@dataclass(frozen=True)
class At:
    """What a draw may look at. A horizon (s.T_hint) is a setting: T may change when a run is resumed."""

    step: int
    """Training step, from 1."""

    segments: int
    """Segments the solution is scheduled in; 0 without a solution."""

    past: Json = None
    """What `remember` kept of this prompt; None before its first time."""

    common: Json = None
    """What `remember` kept of all prompts; None at the first step."""


# --- what its tokens count ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """The rollouts of one prompt once they are scored: n rows of at most L response tokens."""

    scores: torch.Tensor
    """(n,) float32; 1 for a demonstration, 0 where the verdict failed."""

    ok: torch.Tensor
    """(n,) bool; False where the verdict failed: such a row votes nowhere, whatever `weigh` says."""

    plans: tuple[Plan, ...]
    """What each row started from."""

    given: torch.Tensor
    """(n, L) bool, hint tokens."""

    gen: torch.Tensor
    """(n, L) bool, generated tokens; less those that rollout correction rejected."""

    demo: torch.Tensor
    """(n, L) bool, tokens of demonstrations."""

    old: torch.Tensor
    """(n, L) log-probabilities under the policy before the update, 0 on padding."""

    key: str
    """Names the prompt in random draws and in memory."""

    step: int
    """Training step, from 1."""

    ref: torch.Tensor | None = None
    """(n, L) log-probabilities under the reference model, where the run has one."""

    segments: int = 0
    """Segments the solution is scheduled in."""

    entropy: torch.Tensor | None = None
    """(n, L) entropy of the policy before the update at each position, in nats."""

    rescored: torch.Tensor | None = None
    """(n, L) log-probabilities of the same tokens under `context`'s messages; `old` in rows without one."""

    hinted: bool = True
    """Whether the hint of its plans, if they have one, was given: a short solution may have no text of that share."""

    messages: Sequence[Mapping[str, str]] = ()
    """The prompt, without a hint."""

    solution: str = ""
    """The known solution, whole; empty without one."""

    texts: tuple[str, ...] = ()
    """What each row holds, as text, given tokens included. Filled for algorithms with a `context`."""

    unshaped: torch.Tensor | None = None
    """(n,) scores before a penalty was taken off them (overlong answers, verl's KL in rewards); None without one."""

    @property
    def verdicts(self) -> torch.Tensor:
        """(n,) what the reward function gave, by which a row is right or wrong."""
        return self.scores if self.unshaped is None else self.unshaped

    @property
    def scored(self) -> torch.Tensor:
        """(n,) bool: generated rows with a verdict, the ones that rewards are compared among."""
        return self.ok & self.gen.any(-1)


TermNorm = Literal["tokens", "rows", "sequences", "length"]

Shape = Callable[["torch.Tensor"], "torch.Tensor"]
"""g(p) of a Term: probabilities to factors, elementwise. A function of a module, so that it can be found elsewhere."""


@dataclass(frozen=True)
class Term:
    """One stream of the loss beside PPO's: coef * sum_t w_t g(sg p_t) (-log p_t) / N, p the policy's probability.

    sg stops the gradient. As d(-A f(p)) = A f'(p) p d(-log p), an off-policy objective -A f(p) is a Term as well.
    """

    weights: torch.Tensor
    """(n, L) float, 0 where the term is not."""

    name: str
    """Its metric is actor/<name>: the sum without coef."""

    coef: float = 1.0
    """Its weight in the loss."""

    shape: Shape | None = None
    """g; None is 1."""

    norm: TermNorm = "tokens"
    """N over the whole batch: tokens (of `over`) or rows with a weight that is not 0, all rows that vote
    ("sequences"), or these times the longest response ("length", what PPO's loss is divided by with loss_norm
    "length")."""

    over: torch.Tensor | None = None
    """(n, L) bool: what "tokens" counts; None is what has a weight that is not 0."""

    rewarded: bool = False
    """Whether the weights come from rewards, as advantages do (for uft/updates_without_reward_gradient)."""


@dataclass(frozen=True)
class Weights:
    """What a prompt's rollouts count."""

    advantage: torch.Tensor | None = None
    """(n, L) for PPO's loss; None keeps what verl's estimator gave: a critic's, or rewards compared in the group."""

    mask: torch.Tensor | None = None
    """(n, L) bool: the tokens PPO's loss, KL and entropy are taken on; None leaves the generated ones."""

    terms: tuple[Term, ...] = ()
    """The same names for every prompt of a run."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    """Means over the step's prompts are logged as uft/<name>."""


@dataclass(frozen=True)
class Rows:
    """What `loss` sees of a micro-batch: n rows of L response tokens, those without a verdict skipped."""

    scores: torch.Tensor
    """(n,)"""

    gen: torch.Tensor
    """(n, L) bool"""

    ref: torch.Tensor | None
    """(n, L) log-probabilities under the reference model."""


RowLoss = tuple["torch.Tensor", Mapping[str, "torch.Tensor"]]
"""(n,) losses, of which the mean over the optimiser step is taken, and (n,) values whose means become metrics."""


# --- the defaults --------------------------------------------------------------------------------------------------


def bare(at: At, s: Any, rng: np.random.Generator) -> Plan:
    """Rollouts start from the prompt."""
    return Bare()


def hint_term(group: Group, s: Any) -> Term:
    """UFT's -c sum log pi(hint token) / N, N its tokens or (the paper's) the rows of the update. Its metric is the
    hint's negative log-likelihood in nats, a mean over tokens or over rows."""
    norm: Literal["tokens", "sequences"] = "tokens" if s.hint_nll_agg == "token-mean" else "sequences"
    return Term(group.given.float(), "hint_nll", coef=s.sft_loss_coef, norm=norm)


def grpo(group: Group, s: Any) -> Weights:
    """Rewards compared within the group (verl's estimator "uft"), and the hint's log-likelihood beside them."""
    return Weights(terms=(hint_term(group, s),))


Kept = tuple[Json, Json, Sequence[str]]
"""(past, common, due): the memory of one prompt and of all, and keys of prompts whose solutions are learned now, by
one supervised update after the step's own (-log pi(solution) per token, over the tokens of all of them)."""


def forget(group: Group, past: Json, common: Json, s: Any) -> Kept:
    """Nothing is kept."""
    return None, None, ()


# --- the algorithm ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Algorithm:
    """One member of the family. Its file says where its numbers come from.

    `s` in the hooks holds the run's settings: each of `options` by its name, T_hint, sft_loss_coef, hint_nll_agg, beta,
    una_target, n_rollout, max_response_length (of what is generated), response_length (with the hint). Not T: a run may
    be resumed with more steps, and its draws have to stay what they were.
    """

    name: str
    """What --algo takes."""

    title: str
    """One line for tables and --help."""

    paper: str
    """Where it is defined."""

    equation: str
    """The rule in one line."""

    stages: tuple[StageKind, ...]
    """Training stages in order; each starts from the weights of the one before."""

    needs: frozenset[Need] = frozenset()
    """What its rl stage cannot do without."""

    options: type | None = None
    """A dataclass of settings of its own: every field becomes a flag, its docstring or metadata["help"] the help."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Defaults of other flags that it wants otherwise."""

    rollout: Callable[[At, Any, np.random.Generator], Plan | list[Plan]] = bare
    """Called once a prompt and step with the stream of (seed, step, prompt). One plan is for all rollouts; a list has
    one for each, demonstrations included."""

    loss_norm: LossNorm = "tokens"
    """What PPO's loss is a mean of."""

    policy_gradient: bool = True
    """False where `weigh` gives an advantage of 0 throughout: PPO's loss has no part, and nothing is clipped."""

    demonstrations: int = 0
    """Rollouts of a prompt that are not generated, beside --n_rollout generated ones."""

    hints_in_prompt: bool = False
    """Whether its hints may stand in the question; the longest prompt then has room for the longest hint and words."""

    wrap: str = IN_PROMPT
    """The longest words that its hints in the question have around them, as of `Hint`."""

    context: Callable[[int, Group, Any], Sequence[Mapping[str, str]] | None] | None = None
    """Messages under which row i is scored once more (-> `Group.rescored`), by one more forward pass of the trainer
    over the whole batch; None leaves the row as it was scored."""

    weigh: Callable[[Group, Any], Weights] = grpo
    """Called once per prompt and step, after old and reference log-probabilities are known."""

    remember: Callable[[Group, Json, Json, Any], Kept] = forget
    """What the next steps know from this one; called after the update, prompts in the order of their keys."""

    loss: Callable[[torch.Tensor, Rows, Any], RowLoss] | None = None
    """In the place of PPO's loss and all terms: from current log-probabilities (n, L) to losses of the rows."""

    metrics: Callable[[int, Any], Mapping[str, float]] = lambda step, s: {}
    """uft/<name> that depend on the step alone."""

    memory_metrics: Callable[[Mapping[str, Json], Json, Any], Mapping[str, float]] = lambda past, common, s: {}
    """uft/<name> of what is remembered once a step is: past by prompt, of those it holds anything of, and common."""

    supervised: Shape | None = None
    """g of its supervised stage, on problems or instructions: -g(sg p) log p of every solution token; None is 1."""

    method: Method | None = None
    """What its alignment stage trains with."""

    beta: float = 0.1
    """Scale of the implicit reward in alignment stages and una_online; --beta overrides it."""

    alignment_lr: float = 5e-6
    """Peak learning rate of its alignment stage on a model of some billion parameters; --lr overrides it."""

    sft_ratio: float = 0.0
    """Instruction rows mixed in for each alignment row, as score 1; --sft_ratio overrides it."""

    aliases: tuple[str, ...] = ()
    """Other names --algo takes."""

    @property
    def uses_hints(self) -> bool:
        """Whether its rollouts ever start from a hint or a demonstration."""
        return self.rollout is not bare

    @property
    def compares_rollouts(self) -> bool:
        """Whether its advantages need several rollouts of one prompt."""
        return "rl" in self.stages and "group" in self.needs
