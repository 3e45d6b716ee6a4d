"""Metrics of a policy from its log-probabilities: rewards, calibration, distance to the reference, likelihood.

Pure functions of per-row tensors, the same for a training step and the test file.
"""

from dataclasses import dataclass

import torch

from recipes.algorithms.losses.implicit_reward import implicit_reward, pairwise_loss, una_loss
from recipes.trl_plugin.plan import TrainingPlan
from recipes.trl_plugin.rows import HeldOut


@dataclass(frozen=True)
class Scores:
    """Log-probabilities of n completions, (n,) each."""

    policy: torch.Tensor
    reference: torch.Tensor
    tokens: torch.Tensor
    """Tokens of each completion, including its end-of-text token."""

    def take(self, rows: list[int]) -> "Scores":
        """The scores of these rows."""
        return Scores(self.policy[rows], self.reference[rows], self.tokens[rows])

    def rewards(self, beta: float) -> torch.Tensor:
        """beta log(pi / pi_ref)."""
        return implicit_reward(self.policy, self.reference, beta)


def kl_to_ref(scores: Scores) -> float:
    """Mean log(pi / pi_ref) per token of these completions: an estimate of KL(pi || pi_ref) on the data's texts rather
    than the policy's own, so it may be negative."""
    return float((scores.policy - scores.reference).sum() / scores.tokens.sum())


def pair_metrics(chosen: torch.Tensor, rejected: torch.Tensor) -> dict[str, float]:
    """From the rewards of better and worse completions, (pairs,) each: their means, the margin, and how often the
    better one wins (a tie counts half)."""
    return {
        "rewards/chosen": float(chosen.mean()),
        "rewards/rejected": float(rejected.mean()),
        "rewards/margin": float((chosen - rejected).mean()),
        "rewards/accuracy": _share_above(chosen - rejected),
    }


def _share_above(values: torch.Tensor) -> float:
    return float(((values > 0).float() + 0.5 * (values == 0).float()).mean())


def row_metrics(rewards: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """From rewards and targets in [0, 1] of rows, (rows,) each; a target above 1/2 is good.

    rewards/accuracy: how often sigmoid(r) is on the target's side of 1/2 (exactly 1/2 counts half). calibration/mse and
    calibration/bias: mean square and mean of sigmoid(r) - target.
    """
    good = targets > 0.5
    off = rewards.sigmoid() - targets
    found = {
        "rewards/accuracy": _share_above(torch.where(good, rewards, -rewards)),
        "calibration/mse": float(off.square().mean()),
        "calibration/bias": float(off.mean()),
    }
    for name, members in (("good", good), ("bad", ~good)):
        if members.any():
            found[f"rewards/{name}"] = float(rewards[members].mean())
    if "rewards/good" in found and "rewards/bad" in found:
        found["rewards/margin"] = found["rewards/good"] - found["rewards/bad"]
    return found


def validation_metrics(plan: TrainingPlan, rows: HeldOut, scores: Scores) -> dict[str, float]:
    """All val/* metrics; `scores` are those of rows.completions.

    val/rewards/* on the method's own rows, val/pairs/* on the test file's pairs for every method, val/loss if the loss
    does not depend on the batch (KTO's does), val/instruction_nll: mean -log pi per token of the instructions. With
    several validation sets also each set's, as val/<set>/...
    """
    beta = plan.alignment.beta
    rewards = scores.rewards(beta)
    found: dict[str, float] = {}
    if rows.pairs:
        chosen, rejected = rewards[[better for better, _ in rows.pairs]], rewards[[worse for _, worse in rows.pairs]]
        of_pairs = pair_metrics(chosen, rejected)
        found |= {f"pairs/{name.removeprefix('rewards/')}": value for name, value in of_pairs.items()}
        if plan.pairwise:
            found |= of_pairs
            found["loss"] = float(pairwise_loss(chosen, rejected, total_pairs=len(rows.pairs)))
    if rows.scored:
        own = rewards[[at for at, _ in rows.scored]]
        targets = torch.tensor([target for _, target in rows.scored])
        found |= row_metrics(own, targets)
        if plan.method == "una":
            found["loss"] = float(una_loss(own, targets, plan.alignment.una_loss, total_rows=len(own)))
    used = sorted({at for pair in rows.pairs for at in pair} | {at for at, _ in rows.scored})
    if used:
        found["kl_to_ref"] = kl_to_ref(scores.take(used))
    if rows.instructions:
        taught = scores.take(rows.instructions)
        found["instruction_nll"] = float(-taught.policy.sum() / taught.tokens.sum())
        if plan.method == "sft":
            found["loss"] = found["instruction_nll"]
    metrics = {f"val/{name}": value for name, value in found.items()}
    for name, of_set in rows.sets.items():
        figures = validation_metrics(plan, of_set, scores)
        metrics |= {f"val/{name}/{metric.removeprefix('val/')}": value for metric, value in figures.items()}
    return metrics
