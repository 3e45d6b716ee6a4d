"""Run by test_head.py: gradient of the UFT loss from verl's FSDP2 engine, and the arrays over the vocabulary it makes.

head_worker.py MODEL OUT.pt fused|plain
"""

import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from verl.utils.config import omega_conf_to_dataclass
from verl.utils.distributed import destroy_global_process_group
from verl.workers.utils.losses import ppo_loss

from recipes.verl_plugin import standalone
from recipes.verl_plugin.actor_loss import HINT_TOKENS, HintLoss, actor_loss
from recipes.verl_plugin.probe import longest_rows

ROWS, PROMPT, RESPONSE = 6, 7, 20


class VocabularyArrays(TorchDispatchMode):
    """Counts the results of operations whose last dimension is the vocabulary, by shape."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary, self.found = vocabulary, Counter()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor) and value.dim() and value.shape[-1] == self.vocabulary:
                # Jagged arrays have a symbol in the place of their varying length.
                self.found[tuple(size if type(size) is int else "*" for size in value.shape)] += 1
        return result


def main() -> None:
    model, out, fused = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "fused"
    compose = standalone.compose_config
    override = [f"actor_rollout_ref.model.use_fused_kernels={fused}"]
    standalone.compose_config = lambda base, values, _: compose(base, values, override)
    worker, actor, _, _ = standalone.training_worker(model, out.parent)
    vocabulary = worker.model_config.hf_config.vocab_size
    torch.manual_seed(0)
    columns = longest_rows(ROWS * (PROMPT + RESPONSE), PROMPT, RESPONSE, vocabulary)
    hints = sum(int((mask == 0).sum()) for mask in columns["loss_mask"])
    settings = omega_conf_to_dataclass(actor)
    losses = {
        "plain": partial(ppo_loss, settings),
        "uft": partial(actor_loss, settings, HintLoss(0.9, "token-mean")),
    }
    found: dict[str, Any] = {"hint tokens": hints}
    for name, loss in losses.items():
        extra = {HINT_TOKENS: float(hints), "global_batch_size": ROWS, "use_fused_kernels": fused}
        data = standalone.update_batch(columns, **extra)
        with worker.engine.train_mode(), VocabularyArrays(vocabulary) as arrays:
            worker.engine.optimizer_zero_grad()
            worker.engine.forward_backward_batch(data, loss)
            gradient = {n: p.grad.full_tensor().clone() for n, p in worker.engine.module.named_parameters()}
        found[name] = {"arrays": dict(arrays.found), "gradient": gradient}
    torch.save(found, out)
    destroy_global_process_group()


if __name__ == "__main__":
    main()
