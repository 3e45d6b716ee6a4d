"""What an algorithm is: which stages it trains in, which hints its rollouts start from, what is added to the loss."""

from dataclasses import dataclass
from typing import Literal

from recipes.hints.schedule import HintLength, HintProbability

StageKind = Literal["sft", "rl", "alignment"]
"""sft and rl train on verl, alignment on TRL from rows of completions and what is known of them."""

Estimator = Literal["uft", "gae", "score"]
"""Advantages of an rl stage: group-normalised rewards, a critic's, or the bare reward of the rollout."""

Objective = Literal["policy_gradient", "implicit_reward"]
"""Loss of an rl stage: PPO's clipped one, or UNA's regression of the implicit reward on the reward."""

Method = Literal["sft", "dpo", "kto", "una"]
"""What an alignment stage trains with."""

HintAggregation = Literal["token-mean", "seq-mean-token-sum"]
"""How the hint's log-likelihood is normalised: a mean over hint tokens, or the paper's sum over a sequence."""


@dataclass(frozen=True)
class Algorithm:
    """One member of the family. Its file says where its numbers come from."""

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

    hint_length: HintLength | None = None
    """Schedule of the hint the rollouts start from; None: rollouts start from the bare prompt."""

    hint_probability: HintProbability | None = None
    """p(step, T_hint) of a binomial schedule, for the metric uft/p_t."""

    hint_nll_coef: float = 0.0
    """Weight of the hint's negative log-likelihood in the actor loss; --sft_loss_coef overrides it."""

    estimator: Estimator = "uft"
    """Advantages of its rl stage."""

    objective: Objective = "policy_gradient"
    """Loss of its rl stage."""

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
        """Whether its rollouts ever start from a hint."""
        return self.hint_length is not None

    @property
    def compares_rollouts(self) -> bool:
        """Whether its advantages need several rollouts of one prompt."""
        return "rl" in self.stages and self.estimator == "uft"
