"""What an algorithm is: which stages it trains in, which hints its rollouts start from, what is added to the loss."""

from dataclasses import dataclass
from typing import Literal

from recipes.hints.schedule import HintLength, HintProbability

StageKind = Literal["sft", "rl"]

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

    aliases: tuple[str, ...] = ()
    """Other names --algo takes."""

    @property
    def uses_hints(self) -> bool:
        """Whether its rollouts ever start from a hint."""
        return self.hint_length is not None
