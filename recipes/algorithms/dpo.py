"""DPO, direct preference optimisation: Rafailov et al., arXiv 2305.18290. UNA on pairwise feedback is the same loss.

    L = -E log sigmoid(r(x, chosen) - r(x, rejected)),  r(x, y) = beta log(pi(y | x) / pi_ref(y | x))
beta .1 is the alignment framework's setting; the UNA paper uses .03 (docs/algorithms/alignment.md).
"""

from recipes.algorithms.base import Algorithm

ALGORITHM = Algorithm(
    name="dpo",
    title="DPO: ranks the chosen answer above the rejected one",
    paper="arXiv 2305.18290",
    equation="-log sigmoid(r(chosen) - r(rejected)),  r = beta log(pi / pi_ref)",
    stages=("alignment",),
    method="dpo",
    beta=0.1,
)
