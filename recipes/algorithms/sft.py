"""SFT, supervised fine-tuning: cross-entropy on the complete solution, answer tags included.

    L = - sum_t log pi(y*_t | q, y*_<t) / (solution tokens of the global batch)
Same rows, prompts and tokenisation as the RL algorithms. 5 epochs, lr 1e-5, 10 % warm-up and cosine decay are the UFT
repository's. The mean is over the global batch, not a mean of micro-batch means. On instruction data (conversations) it
trains on TRL, optionally with LoRA and 4 bits.
"""

from recipes.algorithms.base import Algorithm

ALGORITHM = Algorithm(
    name="sft",
    title="SFT: cross-entropy on the solution",
    paper="UFT paper, baseline",
    equation="- log pi(solution | q)",
    stages=("sft",),
    alignment_lr=1e-5,
)
