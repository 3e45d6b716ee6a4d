"""UFT, unified fine-tuning: Liu, Farina, Ozdaglar, arXiv 2505.16984 (NeurIPS 2025).

Rollouts continue from a hint, a prefix of a known solution. Its length is annealed to zero by step T_hint:
    k ~ Binomial(n, p(t)),  p(t) = p_low + (p_high - p_low)(1 + cos(pi t / T_hint)) / 2        (Algorithm 1, eq. B.1)
    L = L_GRPO(generated tokens) + beta KL(pi || pi_ref) - c mean log pi(hint tokens)          (eq. 3.3)
with n = min(5, sentences of the solution), p_low .05, p_high .95, c .001 (table 1).

The paper sums KL and log pi over a sequence, with one beta (c = beta); its code takes means per micro-batch. Here the
default is a mean over all tokens of the optimiser step. `--hint_nll_agg paper` is the equation: policy gradient, KL and
log pi are summed per sequence; seq-mean-token-sum sums only log pi. As in the paper's code, a hint never contains the
answer tags, so even a full hint leaves the answer to RL.
"""

from typing import Any

import numpy as np

from recipes.algorithms.base import Algorithm, At, Hint
from recipes.algorithms.hints.schedule import cosine

P_LOW, P_HIGH = 0.05, 0.95


def probability(step: int, T_hint: int) -> float:
    """Equation B.1 with steps counted from 1: from just below P_HIGH to P_LOW at T_hint, then 0."""
    return 0.0 if step > T_hint else cosine(step, T_hint, P_HIGH, P_LOW)


def rollout(at: At, s: Any, rng: np.random.Generator) -> Hint:
    """k ~ Binomial(n, p(t)), one for all rollouts of the prompt."""
    return Hint(int(rng.binomial(at.segments, probability(at.step, s.T_hint))))


ALGORITHM = Algorithm(
    name="uft",
    title="UFT: GRPO from an annealed hint, plus the likelihood of the hint",
    paper="arXiv 2505.16984",
    equation="GRPO(y | q, hint_k) - c log pi(hint_k | q),  k ~ Binomial(n, p(t)),  p cosine .95 -> .05",
    stages=("rl",),
    needs=frozenset({"group"}),
    settings={"sft_loss_coef": 0.001},
    rollout=rollout,
    metrics=lambda step, s: {"p_t": probability(step, s.T_hint)},
)
