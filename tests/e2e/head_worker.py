"""Run by test_head.py on several ranks: gradients of verl's FSDP2 engine, and the arrays over the vocabulary they take.

    torchrun --nproc_per_node=R head_worker.py OUT.pt MODEL ...
For every model with the plain and with the fused head, and for every loss: the gradient of the same rows, shared out
over the ranks.
"""

import json
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from verl.utils.config import omega_conf_to_dataclass
from verl.utils.distributed import destroy_global_process_group, initialize_global_process_group
from verl.workers.engine_workers import TrainingWorker
from verl.workers.utils.losses import ppo_loss, sft_loss

from recipes.common.run_dir import RunDir
from recipes.flags.resolve import build_experiment
from recipes.settings.profiles import PROFILES
from recipes.verl_plugin import standalone
from recipes.verl_plugin.actor_loss import TERMS, actor_loss
from recipes.verl_plugin.compose import compose_config
from recipes.verl_plugin.probe import longest_rows
from recipes.verl_plugin.verl_config import REINFORCEMENT, rl_config

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


def worker_with(model: str, folder: Path, *, fused: bool) -> tuple[TrainingWorker, Any]:
    """(worker, actor configuration) of a run on the CPU profile, with the plain or the fused head."""
    values = rl_config(
        build_experiment({"model": model}, PROFILES["cpu"]),
        run=RunDir(folder),
        model=model,
        train_file=folder,
        test_file=folder,
        resume_from=None,
    )
    override = [f"actor_rollout_ref.model.use_fused_kernels={fused}"]
    return standalone.worker_of(compose_config(REINFORCEMENT, values, override))


def measure(worker: TrainingWorker, actor: Any, rank: int, world: int, *, fused: bool) -> dict[str, Any]:
    """Gradient and arrays over the vocabulary, by loss."""
    vocabulary = worker.model_config.hf_config.vocab_size
    torch.manual_seed(0)
    columns = longest_rows(ROWS * (PROMPT + RESPONSE), PROMPT, RESPONSE, vocabulary)
    hints = sum(int((mask == 0).sum()) for mask in columns["loss_mask"])
    # SFT's mask is over the whole row.
    whole = columns | {"loss_mask": [torch.nn.functional.pad(mask, (PROMPT, 0)) for mask in columns["loss_mask"]]}
    settings = omega_conf_to_dataclass(actor)
    losses = {
        "plain": (columns, partial(ppo_loss, settings)),
        "uft": (columns, partial(actor_loss, settings)),
        "sft": (whole, partial(sft_loss, config=None)),
    }
    mine = slice(rank * ROWS // world, (rank + 1) * ROWS // world)
    found: dict[str, Any] = {"hint tokens": hints}
    for name, (rows, loss) in losses.items():
        extra = {TERMS: json.dumps([["hint_nll", 0.9, ""]]), "global_batch_size": ROWS, "use_fused_kernels": fused}
        data = standalone.update_batch({column: values[mine] for column, values in rows.items()}, **extra)
        with worker.engine.train_mode(), VocabularyArrays(vocabulary) as arrays:
            worker.engine.optimizer_zero_grad()
            worker.engine.forward_backward_batch(data, loss)
            gradient = {n: p.grad.full_tensor().clone() for n, p in worker.engine.module.named_parameters()}
        found[name] = {"arrays": dict(arrays.found), "gradient": gradient}
    return found


def main() -> None:
    out, models = Path(sys.argv[1]), sys.argv[2:]
    _, rank, world = initialize_global_process_group()
    found = {}
    # The plain head first: verl puts the fused one into the model's class, for the rest of the process.
    for head in ("plain", "fused"):
        for model in models:
            fused = head == "fused"
            worker, actor = worker_with(model, out.parent, fused=fused)
            found[Path(model).name, head] = measure(worker, actor, rank, world, fused=fused)
    if rank == 0:
        torch.save(found, out)
    destroy_global_process_group()


if __name__ == "__main__":
    main()
