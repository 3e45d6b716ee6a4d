"""UNA, unified alignment: Wang et al., arXiv 2408.15339. Supervised learning of an implicit reward.

    r(x, y) = beta log(pi(y | x) / pi_ref(y | x)),  s = sigmoid(r)                                              (eq. 8)
    pairwise  -log sigmoid(r(chosen) - r(rejected)), which is DPO                                               (eq. 10)
    binary    (s - {1, 0})^2, or the cross-entropy of s                                                  (eqs. 11, 12)
    score     (s - score)^2 with scores in [0, 1]                                                               (eq. 13)
These are minimised; the printed equations have a stray minus sign. For scores beta .03 and lr 3e-5 (LoRA, rank 32); the
paper's binary runs use beta .01 and lr 5e-6.
"""

from typing import Literal

from recipes.algorithms.base import Algorithm

UnaLoss = Literal["mse", "bce"]
"""How the implicit reward is compared with the feedback: squared error or cross-entropy of its sigmoid."""

ALGORITHM = Algorithm(
    name="una",
    title="UNA: fits the implicit reward to feedback (pairs, labels or scores)",
    paper="arXiv 2408.15339",
    equation="(sigmoid(r) - score)^2,  r = beta log(pi / pi_ref)",
    stages=("alignment",),
    method="una",
    beta=0.03,
    alignment_lr=3e-05,
)
