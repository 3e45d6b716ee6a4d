"""SFT-RFT: SFT, then GRPO from its weights; the baseline the UFT paper plots but its code cannot run.

Two stages in one command, with the hyper-parameters of `sft` and `rft`. "SFT-then-RL Outperforms Mixed-Policy Methods"
(arXiv 2604.23747) is why every comparison should include it.
"""

from recipes.algorithms.base import Algorithm

ALGORITHM = Algorithm(
    name="sft_rft",
    title="SFT, then GRPO from its weights",
    paper="UFT paper, baseline",
    equation="sft; then rft from its weights",
    stages=("sft", "rl"),
    needs=frozenset({"group"}),
    aliases=("sft-rft", "sft_grpo"),
)
