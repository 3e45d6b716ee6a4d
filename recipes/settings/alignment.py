"""Settings of offline alignment: sft on instructions, dpo, kto, una and una_sft, which train on TRL.

Where the numbers come from: UNA (arXiv 2408.15339) and Wang et al.'s UFT (arXiv 2410.21438).
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
"""Rows of problems with a verifier and solutions, or of answers and what is known of them (data_prep/preference)."""

Feedback = Literal["pairwise", "binary", "score"]
"""What is known of a completion: that it is better than another one, that it is good or bad, how good it is."""

UnaTarget = Literal["sigmoid", "raw"]
"""What of the implicit reward is compared with the score: its sigmoid (equation 13) or itself (equation 7)."""


LrSchedule = Literal["cosine", "linear", "constant"]


def _share(value: float) -> str:
    return "" if 0 <= value < 1 else "must be at least 0, and below 1"


_GROUP = "alignment, and sft on instructions"


@dataclass(frozen=True)
class Alignment:
    """One offline alignment stage."""

    feedback: Feedback = setting(_GROUP, From.ALGORITHM, applies=una)
    """What UNA learns from: pairs, good and bad answers, or scores."""

    una_loss: UnaLoss = setting(_GROUP, "mse", applies=una)
    """Loss of binary and score feedback."""

    una_target: UnaTarget = setting(_GROUP, "sigmoid", applies=row_loss)
    """Of una_online: what is held against the score."""

    beta: float = setting(_GROUP, From.ALGORITHM, applies=implicit_reward, check=positive)
    """Scale of the implicit reward beta * log(pi / pi_ref)."""

    lr: float = setting(default=From.ALGORITHM, check=a_rate)
    """Peak learning rate (--warmup_ratio, --lr_schedule); of sft on instructions too."""

    epochs: float = setting(_GROUP, 2.0, applies=passes, check=positive)
    """Passes over the rows; of sft on problems too."""

    batch_size: int = setting(default=16, check=at_least(1))
    """Rows (pairs, for pairwise feedback) an optimiser step, over all devices."""

    micro_batch_size: int = setting(_GROUP, 2, applies=answers, check=at_least(1))
    """Rows a device works on at once; changes memory and speed, never the gradient."""

    max_length: int = setting(_GROUP, 2048, applies=answers, check=at_least(2))
    """Longest prompt and answer together, in tokens; longer rows are skipped and counted."""

    sft_ratio: float = setting(_GROUP, From.ALGORITHM, applies=una, check=not_negative)
    """Of una_sft: instruction rows for each alignment row, mixed in as score 1."""

    lora_alpha: int = setting("adapters", check=not_negative)
    """Scale of the adapter (times 1 / rank); twice --lora_rank by default."""

    lora_dropout: float = setting("adapters", 0.0, applies=answers, check=_share)
    """Dropout of the adapter's input."""

    load_in_4bit: bool = setting("adapters", False, applies=answers)
    """Hold the frozen weights in 4 bits (needs CUDA, bitsandbytes and --lora_rank)."""

    precompute_ref: bool = setting(_GROUP, False, applies=answers)
    """Compute the reference's log-probabilities once, before training, instead of holding it in memory."""

    desirable_weight: float = setting(_GROUP, 1.0, applies=kto, check=not_negative, absent=1.0)
    """Of kto: weight of good answers' losses; its paper balances unequal numbers with one of the two weights."""

    undesirable_weight: float = setting(_GROUP, 1.0, applies=kto, check=not_negative, absent=1.0)
    """Of kto: weight of bad answers' losses."""

    load_in_8bit: bool = setting("adapters", False, applies=answers, absent=False)
    """Hold the frozen weights in 8 bits (needs CUDA, bitsandbytes and --lora_rank)."""

    max_prompt_length: int | None = setting(default=None, check=at_least(1), absent=None)
    """Longest prompt in tokens, where one is given; rows with longer ones are skipped and counted."""

    warmup_ratio: float = setting(_GROUP, 0.1, applies=answers, check=_share, absent=0.1)
    """Share of the steps in which the learning rate rises to its peak."""

    lr_schedule: LrSchedule = setting(_GROUP, "cosine", applies=answers, absent="cosine")
    """Course of the learning rate after it: down to 0 by cosine or linear, or constant."""

    weight_decay: float = setting(_GROUP, 0.0, applies=answers, check=not_negative, absent=0.0)
    """Of AdamW."""

    max_grad_norm: float = setting(_GROUP, 1.0, applies=answers, check=positive, absent=1.0)
    """Longer gradients are cut to this norm."""

    @property
    def bits(self) -> int:
        """In which the frozen weights are held; 0: as they are computed with."""
        return 4 if self.load_in_4bit else 8 if self.load_in_8bit else 0


# Flags whose name an alignment stage shares with reinforcement: they mean the stage that is run.
_SHARED_FLAGS = ("lr", "batch_size", "max_prompt_length")


def resolve_alignment(given: dict[str, Any], algorithm: "Algorithm", profile: "Profile", kind: DataKind) -> Alignment:
    """The settings of alignment under the flags that the user gave, which are taken out of `given`.

    Published settings stand in the algorithms' files; batch 16 and 2 epochs are the alignment framework's and UNA's.
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
    """Sizes of a step and a micro-batch that the devices share evenly, nearest to the usual; chosen ones stay."""
    at_once = devices * (values["micro_batch_size"] if "micro_batch_size" in chosen else 1)
    if "batch_size" not in chosen and devices > 0 and at_once > 0:
        values["batch_size"] = nearest_multiple(values["batch_size"], at_once)
    if "micro_batch_size" not in chosen and devices > 0:
        # A micro-batch changes no gradient, and has to divide what a device gets.
        share, usual = max(1, values["batch_size"] // devices), values["micro_batch_size"]
        values["micro_batch_size"] = max(m for m in range(1, min(usual, share) + 1) if share % m == 0)


def nearest_multiple(size: int, of: int) -> int:
    """The multiple nearest to a size, at least one; of two the smaller."""
    return max(1, (2 * size + of - 1) // (2 * of)) * of
