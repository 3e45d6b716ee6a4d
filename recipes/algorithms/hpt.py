"""HPT, hybrid post-training: Lv et al., arXiv 2509.04419. SFT or GRPO per question, depending on its success rate.

    P <= gamma:  c mean_t -log pi(y*_t | q), without the question's rollouts;   P = share of correct rollouts
    P >  gamma:  GRPO(y | q) with A = r - mean(r), not divided by the std; token sum divided by a constant length
gamma 0 and c 1 (Qwen2.5-Math-7B); gamma .25 for Llama-3.1-8B, c .3 for the 1.5B model. KL 0. A question without a
solution gets GRPO; one without any reward gets neither.

Second-hand: definition and numbers are from TsinghuaC3I/Unify-Post-Training (ae332f5). Its gate is a count out of 8
rollouts; here it is a share. Its middle band (LUFFY's loss instead of the likelihood) is off in all its scripts, and
omitted. It does not clip the ratio: use one update per step (--mini_batch_size equal to --batch_size). Differences: N
counts all rows, including demonstrations and dropped rollouts, so GRPO weighs less the more questions are supervised.
Gradients are clipped at verl's 1, there at 80 with lr 5e-6 (-- actor_rollout_ref.actor.grad_clip=80).
"""

from dataclasses import dataclass, field
from typing import Any

from recipes.algorithms.base import Algorithm, Group, Term, Weights
from recipes.algorithms.losses.group import compared, share_right
from recipes.algorithms.luffy import rollout
from recipes.common.values import a_share, not_negative


@dataclass(frozen=True)
class Options:
    gate: float = field(default=0.0, metadata={"help": "success rate up to which SFT is used", "check": a_share})
    gate_coef: float = field(default=1.0, metadata={"help": "weight of the SFT loss", "check": not_negative})


def supervised(group: Group, s: Any) -> bool:
    """Whether the question is trained on its solution at this step."""
    share = share_right(group)
    return share is not None and share <= s.gate and bool(group.demo.any())


def weigh(group: Group, s: Any) -> Weights:
    from_solution = supervised(group, s)
    trained = group.gen & (not from_solution)
    shown = group.demo.float() * from_solution
    return Weights(
        compared(group, std=False) * trained,
        mask=trained,
        terms=(Term(shown, "demonstration_nll", coef=s.gate_coef),),
        metrics={"supervised": float(from_solution)},
    )


ALGORITHM = Algorithm(
    name="hpt",
    title="HPT: SFT on questions whose rollouts fail, GRPO on the others",
    paper="arXiv 2509.04419",
    equation="share right <= gamma: - c log pi(y* | q), else GRPO(y | q)",
    stages=("rl",),
    needs=frozenset({"group"}),
    options=Options,
    settings={"kl_coef": 0.0},
    rollout=rollout,
    demonstrations=1,
    loss_norm="length",
    weigh=weigh,
)
