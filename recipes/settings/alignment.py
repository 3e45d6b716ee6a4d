"""Settings of offline alignment: sft on instructions, dpo, kto, una and una_sft, which train with TRL.

Sources of the numbers: UNA (arXiv 2408.15339) and Wang et al.'s UFT (arXiv 2410.21438).
"""

from collections.abc import Container
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from recipes.algorithms.una import UnaLoss
from recipes.common.values import a_rate, at_least, not_negative, positive
from recipes.settings.applies import answers, implicit_reward, kto, passes, row_loss, una
from recipes.settings.declare import From, declared, setting

if TYPE_CHECKING:
    from recipes.algorithms import Algorithm
    from recipes.settings.profiles import Profile

DataKind = Literal["problems", "answers"]
"""Rows are problems with a verifier and solutions, or answers with feedback (data_prep/preference)."""

Feedback = Literal["pairwise", "binary", "score"]
"""A completion is better than another, good or bad, or scored."""

UnaTarget = Literal["sigmoid", "raw"]
"""Compare the score with the sigmoid of the implicit reward (equation 13) or with the reward itself (equation 7)."""

LrSchedule = Literal["cosine", "linear", "constant"]


def _share(value: float) -> str:
    return "" if 0 <= value < 1 else "must be at least 0 and below 1"


_GROUP = "alignment and sft on instructions"


@dataclass(frozen=True)
class Alignment:
    """One offline alignment stage."""

    feedback: Feedback = setting(_GROUP, From.ALGORITHM, applies=una)
    """UNA's training signal: pairs, good/bad labels or scores."""

    una_loss: UnaLoss = setting(_GROUP, "mse", applies=una)
    """Loss for binary and score feedback."""

    una_target: UnaTarget = setting(_GROUP, "sigmoid", applies=row_loss)
    """(una_online) Compare the score with the implicit reward's sigmoid or its raw value."""

    beta: float = setting(_GROUP, From.ALGORITHM, applies=implicit_reward, check=positive)
    """Scale of the implicit reward beta * log(pi / pi_ref)."""

    lr: float = setting(default=From.ALGORITHM, check=a_rate)
    """Peak learning rate (--warmup_ratio, --lr_schedule); also for sft on instructions."""

    epochs: float = setting(_GROUP, 2.0, applies=passes, check=positive)
    """Passes over the rows; also for sft on problems."""

    batch_size: int = setting(default=16, check=at_least(1))
    """Rows (pairs, for pairwise feedback) per optimiser step, over all devices."""

    micro_batch_size: int = setting(_GROUP, 2, applies=answers, check=at_least(1))
    """Rows per device in one pass; affects memory and speed, never the gradient."""

    max_length: int = setting(_GROUP, 2048, applies=answers, check=at_least(2))
    """Most tokens in prompt and answer together; longer rows are skipped and counted."""

    sft_ratio: float = setting(_GROUP, From.ALGORITHM, applies=una, check=not_negative)
    """(una_sft) Instruction rows per alignment row, mixed in with score 1."""

    lora_alpha: int = setting("adapters", check=not_negative)
    """Adapter scale, divided by the rank; default: twice --lora_rank."""

    lora_dropout: float = setting("adapters", 0.0, applies=answers, check=_share)
    """Dropout on the adapter's input."""

    load_in_4bit: bool = setting("adapters", False, applies=answers)
    """Keep the frozen weights in 4 bits (requires CUDA, bitsandbytes and --lora_rank)."""

    precompute_ref: bool = setting(_GROUP, False, applies=answers)
    """Compute the reference's log-probabilities once, before training, instead of keeping it in memory."""

    desirable_weight: float = setting(_GROUP, 1.0, applies=kto, check=not_negative, absent=1.0)
    """(kto) Loss weight of good answers; the paper balances unequal counts with one of the two weights."""

    undesirable_weight: float = setting(_GROUP, 1.0, applies=kto, check=not_negative, absent=1.0)
    """(kto) Loss weight of bad answers."""

    load_in_8bit: bool = setting("adapters", False, applies=answers, absent=False)
    """Keep the frozen weights in 8 bits (requires CUDA, bitsandbytes and --lora_rank)."""

    max_prompt_length: int | None = setting(default=None, check=at_least(1), absent=None)
    """Most prompt tokens, if given; rows with longer prompts are skipped and counted."""

    warmup_ratio: float = setting(_GROUP, 0.1, applies=answers, check=_share, absent=0.1)
    """Share of steps over which the learning rate warms up to its peak."""

    lr_schedule: LrSchedule = setting(_GROUP, "cosine", applies=answers, absent="cosine")
    """Learning rate after warm-up: cosine or linear decay to 0, or constant."""

    weight_decay: float = setting(_GROUP, 0.0, applies=answers, check=not_negative, absent=0.0)
    """AdamW's weight decay."""

    max_grad_norm: float = setting(_GROUP, 1.0, applies=answers, check=positive, absent=1.0)
    """Gradients are clipped to this norm."""

    @property
    def bits(self) -> int:
        """Bits of the frozen weights; 0: compute precision."""
        return 4 if self.load_in_4bit else 8 if self.load_in_8bit else 0


# Flags shared by alignment and reinforcement stages; they apply to the stage that runs.
_SHARED_FLAGS = ("lr", "batch_size", "max_prompt_length")


def resolve_alignment(given: dict[str, Any], algorithm: "Algorithm", profile: "Profile", kind: DataKind) -> Alignment:
    """Alignment settings with the user's flags, which are removed from `given`, applied on top.

    Published settings are in the algorithms' files; batch 16 and 2 epochs are the alignment framework's and UNA's.
    """
    values = {name: each.default for name, each in declared(Alignment).items() if not isinstance(each.default, From)}
    values |= {
        "feedback": "score" if algorithm.method == "una" else "pairwise",
        "beta": algorithm.beta,
        "lr": algorithm.alignment_lr,
        "sft_ratio": algorithm.sft_ratio,
        "lora_alpha": 2 * given.get("lora_rank", profile.lora_rank),
        **profile.alignment,
    }
    chosen = set()
    for name in declared(Alignment):
        if name in given and (name not in _SHARED_FLAGS or kind == "answers"):
            values[name] = given.pop(name)
            chosen.add(name)
    if kind == "answers":
        _share_out(values, chosen, given.get("n_gpu", profile.n_gpu))
    return Alignment(**values)


def _share_out(values: dict[str, Any], chosen: Container[str], devices: int) -> None:
    """Round step and micro-batch sizes so that devices share them evenly; sizes in `chosen` are kept."""
    at_once = devices * (values["micro_batch_size"] if "micro_batch_size" in chosen else 1)
    if "batch_size" not in chosen and devices > 0 and at_once > 0:
        values["batch_size"] = nearest_multiple(values["batch_size"], at_once)
    if "micro_batch_size" not in chosen and devices > 0:
        # The micro-batch does not affect the gradient, but must divide a device's share.
        share, usual = max(1, values["batch_size"] // devices), values["micro_batch_size"]
        values["micro_batch_size"] = max(m for m in range(1, min(usual, share) + 1) if share % m == 0)


def nearest_multiple(size: int, of: int) -> int:
    """The nearest positive multiple; the smaller on a tie."""
    return max(1, (2 * size + of - 1) // (2 * of)) * of
