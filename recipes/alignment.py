"""Settings of offline alignment: sft on instructions, dpo, kto, una and una_sft, which train on TRL.

Where the numbers come from: UNA (arXiv 2408.15339) and Wang et al.'s UFT (arXiv 2410.21438).
"""

from dataclasses import dataclass
from dataclasses import fields as fields_of
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from recipes.algorithms import Algorithm
    from recipes.profiles import Profile

DataKind = Literal["problems", "answers"]
"""Rows of problems with a verifier and solutions, or of answers and what is known of them (data_prep/preference)."""

Feedback = Literal["pairwise", "binary", "score"]
"""What is known of a completion: that it is better than another one, that it is good or bad, how good it is."""

UnaLoss = Literal["mse", "bce"]
"""How UNA's implicit reward is held against the feedback: squared error or cross-entropy of its sigmoid."""

UnaTarget = Literal["sigmoid", "raw"]
"""What of the implicit reward is compared with the score: its sigmoid (equation 13) or itself (equation 7)."""


@dataclass(frozen=True)
class Alignment:
    """One offline alignment stage."""

    feedback: Feedback
    """Which feedback UNA learns from."""

    una_loss: UnaLoss
    """Loss of binary and score feedback."""

    una_target: UnaTarget
    """una_online: what is held against the score."""

    beta: float
    """Scale of the implicit reward beta * log(pi / pi_ref)."""

    lr: float
    """Peak learning rate (10 % warm-up, cosine); of sft on instructions too."""

    epochs: float
    """Passes over the rows."""

    batch_size: int
    """Rows (pairs, for pairwise feedback) an optimiser step, over all devices."""

    micro_batch_size: int
    """Rows a device works on at once; changes memory and speed, never the gradient."""

    max_length: int
    """Longest prompt and completion together, in tokens; longer rows are left out and counted."""

    sft_ratio: float
    """una_sft: instruction rows for each alignment row, mixed in as score 1."""

    lora_alpha: int
    """Scale of the adapter (times 1 / rank)."""

    lora_dropout: float
    """Dropout of the adapter's input."""

    load_in_4bit: bool
    """Hold the frozen weights in 4 bits (needs CUDA, bitsandbytes and lora_rank > 0)."""

    precompute_ref: bool
    """Compute the reference's log-probabilities once, before training, instead of holding the reference in memory."""


# Flags whose name an alignment stage shares with reinforcement: they mean the stage that is run.
_SHARED_FLAGS = ("lr", "batch_size")


def resolve_alignment(given: dict[str, Any], algorithm: "Algorithm", profile: "Profile", kind: DataKind) -> Alignment:
    """The settings of alignment under the flags that the user gave, which are taken out of `given`.

    Published settings stand in the algorithms' files; batch 16 and 2 epochs are the alignment framework's and UNA's.
    """
    rank = given.get("lora_rank", profile.lora_rank)
    values: dict[str, Any] = {
        "feedback": "score" if algorithm.method == "una" else "pairwise",
        "una_loss": "mse",
        "una_target": "sigmoid",
        "beta": algorithm.beta,
        "lr": algorithm.alignment_lr,
        "epochs": 2.0,
        "batch_size": 16,
        "micro_batch_size": 2,
        "max_length": 2048,
        "sft_ratio": algorithm.sft_ratio,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "load_in_4bit": False,
        "precompute_ref": False,
        **profile.alignment,
    }
    for field in fields_of(Alignment):
        name = field.name
        if name in given and (name not in _SHARED_FLAGS or kind == "answers"):
            values[name] = given.pop(name)
    return Alignment(**values)
