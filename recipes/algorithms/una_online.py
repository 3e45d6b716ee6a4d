"""UNA online: Wang et al., arXiv 2408.15339, section 3.4. In PPO's place: no critic, no policy gradient.

    y ~ pi(. | x),  score s(x, y) in [0, 1] from a verifier, a reward model or a judge
    L = E (sigmoid(beta log(pi(y | x) / pi_ref(y | x))) - s(x, y))^2                                      (eqs. 7, 13)
`--una_target raw` compares the implicit reward itself instead of its sigmoid. beta .03, lr 5e-6: the paper's.
"""

from recipes.algorithms.base import Algorithm

ALGORITHM = Algorithm(
    name="una_online",
    title="UNA online: the implicit reward of own rollouts learns their score, no critic",
    paper="arXiv 2408.15339",
    equation="(sigmoid(r) - score)^2 on own rollouts,  r = beta log(pi / pi_ref)",
    stages=("rl",),
    estimator="score",
    objective="implicit_reward",
    beta=0.03,
)
