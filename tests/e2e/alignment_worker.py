"""Run by test_alignment_gradient on several ranks: the gradient of one optimiser step of every method.

    torchrun --nproc_per_node=R alignment_worker.py MODEL FOLDER OUT.pt
The policy is moved away from the reference first: where both agree, every reward is 0 and mistakes cancel.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, TrainerCallback

from recipes.trl_plugin.main import build_trainer
from recipes.trl_plugin.plan import TrainingPlan
from recipes.trl_plugin.recording import Recording
from recipes.trl_plugin.rows import encoder, load_held_out, load_training, run_order
from tests.helpers.alignment_checks import BATCH, plan

METHODS: dict[str, dict[str, Any]] = {
    "sft": {"method": "sft"},
    "dpo": {"method": "dpo"},
    "kto": {"method": "kto"},
    "una mse": {"method": "una"},
    "una bce": {"method": "una", "alignment": {"feedback": "binary", "una_loss": "bce"}},
    "una_sft": {"method": "una", "alignment": {"sft_ratio": 0.25}},
    "una lora": {"method": "una", "lora_rank": 4},
    "dpo precomputed": {"method": "dpo", "alignment": {"precompute_ref": True}},
    "kto precomputed": {"method": "kto", "alignment": {"precompute_ref": True}},
}

# (rows of a micro-batch, padding moved to the left) by the number of processes
SPLITS = {1: ((8, False), (4, True), (2, False), (1, False)), 2: ((4, False), (1, False))}


class Catch(TrainerCallback):
    """Keeps the gradient of the first step."""

    def __init__(self) -> None:
        self.gradient: dict[str, torch.Tensor] = {}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        named = model.named_parameters()
        self.gradient = {name.removeprefix("module."): p.grad.clone() for name, p in named if p.requires_grad}


def left_padded(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The batch with every row's padding moved to its left."""
    moved = dict(batch)
    for prefix in ("", "KL_"):
        attention = batch.get(f"{prefix}attention_mask")
        if attention is None:
            continue
        shifts = (attention == 0).sum(-1).tolist()
        for name in ("input_ids", "attention_mask", "completion_mask", "labels"):
            if prefix + name in batch:
                rows = zip(batch[prefix + name], shifts, strict=True)
                moved[prefix + name] = torch.stack([row.roll(shift) for row, shift in rows])
    return moved


def shifted(trainer: Any) -> None:
    """Move what is trained by fixed random numbers."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))


def first_step(settings: TrainingPlan, *, left: bool = False) -> dict[str, torch.Tensor]:
    """The gradient of a plan's first optimiser step."""
    tokenizer = AutoTokenizer.from_pretrained(settings.model)
    encode = encoder(settings, tokenizer)
    rows = load_training(settings, encode).rows
    torch.manual_seed(settings.seed)
    trainer = build_trainer(settings, rows, run_order(len(rows), BATCH, settings.seed), tokenizer)
    if left:
        collate = trainer.batches.collate
        trainer.batches.collate = lambda examples: left_padded(collate(examples))
    if settings.alignment.precompute_ref:
        # As main.py does; then the policy moves away from what was stored.
        trainer.add_callback(Recording(settings, trainer, load_held_out(settings, encode), 1))
        trainer.add_callback(Shift(trainer))
    else:
        shifted(trainer)
    catch = Catch()
    trainer.add_callback(catch)
    trainer.args.max_grad_norm = 0.0
    trainer._save_checkpoint = lambda *_: None
    trainer.train()
    return catch.gradient


class Shift(TrainerCallback):
    """Moves the policy after Recording has stored the reference."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        shifted(self.trainer)


def main() -> None:
    model, folder, out = (Path(argument) for argument in sys.argv[1:])
    world = int(os.environ["WORLD_SIZE"])
    found = {}
    for name, options in METHODS.items():
        for micro, left in SPLITS[world]:
            alignment = {**options.get("alignment", {}), "micro_batch_size": micro}
            settings = plan(folder, model, **{**options, "alignment": alignment}, devices=world)
            settings = replace(settings, run_dir=str(folder / f"{world} {name} {micro}"))
            Path(settings.run_dir).mkdir(exist_ok=True)
            found[name, micro, left] = first_step(settings, left=left)
    if torch.distributed.is_initialized():
        if torch.distributed.get_rank() == 0:
            torch.save(found, out)
        torch.distributed.destroy_process_group()
    else:
        torch.save(found, out)


if __name__ == "__main__":
    main()
