"""UFT of Wang et al., arXiv 2410.21438 (not the paper of `uft`): UNA on instructions and alignment data together.

Instruction rows (x, y) become (x, y, score 1), are mixed with the scored rows and trained with UNA's score loss; there
is no cross-entropy. lr 3e-5, beta .01, LoRA rank 16. --sft_ratio sets the mixture; the paper mixes 20k + 20k, and finds
1 to 2 instruction rows per alignment row best.
"""

from recipes.algorithms.base import Algorithm

ALGORITHM = Algorithm(
    name="una_sft",
    title="Wang et al.'s UFT: UNA on scored answers and instructions (score 1) mixed",
    paper="arXiv 2410.21438",
    equation="(sigmoid(r) - score)^2 on scored rows and instructions with score 1",
    stages=("alignment",),
    method="una",
    beta=0.01,
    alignment_lr=3e-05,
    sft_ratio=1.0,
    aliases=("uft_wang",),
)
