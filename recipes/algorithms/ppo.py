"""PPO with a critic: Schulman et al., arXiv 1707.06347, as implemented in verl; the baseline for RLHF and UNA online.

    A from generalised advantage estimation over the critic's values (gamma 1, lambda 1), whitened
    L = -E[min(rho A, clip(rho, 1 - eps, 1 + eps) A)] + beta KL_3(pi || pi_ref) - c_H H(pi)
Advantages are standardised over the step's generated tokens, as in verl but not in the paper. The critic minimises the
clipped squared error; it starts from the policy's weights with a new head (--critic_lr).
"""

from recipes.algorithms.base import Algorithm

ALGORITHM = Algorithm(
    name="ppo",
    title="PPO with a critic",
    paper="arXiv 1707.06347",
    equation="PPO(y | q) with GAE over a critic",
    stages=("rl",),
    needs=frozenset({"critic"}),
)
