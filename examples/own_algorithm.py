"""Fading: SFT, then GRPO from a hint that fades evenly; hint tokens the policy doubts are learned the most."""

from dataclasses import dataclass, field

from recipes.algorithms.base import Algorithm, Hint, Term, Weights


@dataclass(frozen=True)
class Options:
    doubt_coef: float = field(default=0.01, metadata={"help": "weight of hint tokens by the policy's doubt of them"})


def rollout(at, s, rng):
    return Hint(share=max(0.0, 1 - at.step / s.T_hint) * rng.random())


def doubt(p):
    return 1 - p


def weigh(group, s):
    return Weights(terms=(Term(group.given.float(), "doubt", coef=s.doubt_coef, shape=doubt),))


ALGORITHM = Algorithm(
    name="fading",
    title="Fading: SFT, then GRPO from a fading hint",
    paper="an example",
    equation="sft;  GRPO(y | q, hint) - c (1 - p) log p on hint tokens,  share ~ U(0, 1 - t / T_hint)",
    stages=("sft", "rl"),
    needs=frozenset({"group"}),
    options=Options,
    rollout=rollout,
    weigh=weigh,
)
