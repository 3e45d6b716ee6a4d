"""KTO, Kahneman-Tversky optimisation: Ethayarajh et al., arXiv 2402.01306; from good and bad answers without pairs.

    L = E[1 - sigmoid(r(x, y) - z)] on good answers, E[1 - sigmoid(z - r(x, y))] on bad ones
with r = beta log(pi / pi_ref) and z an estimate of beta KL(pi || pi_ref) over the batch; beta .03: the UNA paper's. The
paper's lambda_D and lambda_U, by which it balances good and bad answers: --desirable_weight, --undesirable_weight, 1.
"""

from recipes.algorithms.base import Algorithm

ALGORITHM = Algorithm(
    name="kto",
    title="KTO: good answers above, bad answers below the reference point",
    paper="arXiv 2402.01306",
    equation="1 - sigmoid(+-(r - z)),  z = beta KL(pi || pi_ref)",
    stages=("alignment",),
    method="kto",
    beta=0.03,
    alignment_lr=5e-06,
)
