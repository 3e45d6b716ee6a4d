"""RFT, reinforcement fine-tuning: GRPO from the bare prompt (Shao et al., arXiv 2402.03300).

    A_i = (r_i - mean(r)) / std(r) over the n rollouts of a prompt
    L = -E[min(rho A, clip(rho, 1 - eps, 1 + eps) A)] + beta KL_3(pi || pi_ref) - c_H H(pi)
n 4, eps .2, beta .001 (low-variance estimator k3) and entropy bonus c_H .001 are the UFT repository's.
"""

from recipes.algorithms.base import Algorithm

ALGORITHM = Algorithm(
    name="rft",
    title="RFT: GRPO, no hint",
    paper="arXiv 2402.03300",
    equation="GRPO(y | q)",
    stages=("rl",),
    needs=frozenset({"group"}),
    aliases=("grpo",),
)
