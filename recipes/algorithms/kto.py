"""KTO, Kahneman-Tversky optimisation: Ethayarajh et al., arXiv 2402.01306. Unpaired good and bad answers.

    L = E[1 - sigmoid(r(x, y) - z)] on good answers, E[1 - sigmoid(z - r(x, y))] on bad ones
with r = beta log(pi / pi_ref), z an estimate of beta KL(pi || pi_ref) over the batch, and beta .03 as in the UNA paper.
--desirable_weight and --undesirable_weight (both 1) are the paper's lambda_D and lambda_U, which balance good and bad
answers.
"""

from recipes.algorithms.base import Algorithm

ALGORITHM = Algorithm(
    name="kto",
    title="KTO: moves good answers above and bad answers below a reference point",
    paper="arXiv 2402.01306",
    equation="1 - sigmoid(+-(r - z)),  z = beta KL(pi || pi_ref)",
    stages=("alignment",),
    method="kto",
    beta=0.03,
)
