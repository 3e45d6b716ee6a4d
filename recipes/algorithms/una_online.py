"""UNA online: Wang et al., arXiv 2408.15339, section 3.4. Replaces PPO: no critic, no policy gradient.

    y ~ pi(. | x),  score s(x, y) in [0, 1] from a verifier, a reward model or a judge
    L = E (sigmoid(beta log(pi(y | x) / pi_ref(y | x))) - s(x, y))^2                                      (eqs. 7, 13)
`--una_target raw` compares the implicit reward itself, not its sigmoid. beta .03 and lr 5e-6 are the paper's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recipes.algorithms.base import Algorithm, RowLoss, Rows

if TYPE_CHECKING:
    import torch


def loss(log_probs: torch.Tensor, rows: Rows, s: Any) -> RowLoss:
    """(squared errors, metrics), (n,) each; a rollout without generated tokens has r = 0.

    r = beta sum_t (log pi - log pi_ref) over generated tokens; the error is sigmoid(r) - score, or r - score for "raw".
    """
    assert rows.ref is not None
    policy, reference = (values.where(rows.gen, 0.0).sum(-1) for values in (log_probs, rows.ref))
    reward = s.beta * (policy - reference)
    guess = reward.sigmoid() if s.una_target == "sigmoid" else reward
    error = guess - rows.scores
    known = reward.detach()
    return error.square(), {
        "una_loss": error.detach().square(),
        "implicit_reward": known,
        "log_ratio": known / s.beta,
        "score": rows.scores,
    }


ALGORITHM = Algorithm(
    name="una_online",
    title="UNA online: fits the implicit reward of the policy's rollouts to their scores, no critic",
    paper="arXiv 2408.15339",
    equation="(sigmoid(r) - score)^2 on own rollouts,  r = beta log(pi / pi_ref)",
    stages=("rl",),
    needs=frozenset({"reference"}),
    loss=loss,
    beta=0.03,
)
