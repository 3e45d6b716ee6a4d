"""Log-probabilities of the reference, computed once before training and kept in the run folder (precompute_ref).

A resumed run reads them back: if all weights are trained, the reference itself no longer exists by then.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from recipes.trl_plugin.plan import TrainingPlan
from recipes.trl_plugin.rows import HeldOut

FILE = "reference.safetensors"
_TEST = "test"
_DATA = "data"


def attach_reference(trainer: Any, plan: TrainingPlan, test: HeldOut) -> None:
    """Give the trainer the stored log-probabilities of every position of the run, and of the test file.

    Raises:
        RuntimeError: a resumed run has no file for its data, and no reference left to compute it with.
    """
    path = Path(plan.run_dir) / FILE
    data = _fingerprint(trainer, plan, test)
    stored = _read(path, data)
    if stored is None:
        if trainer.state.global_step and not plan.lora_rank:
            raise RuntimeError(f"{path} is missing or for other data, and the reference's weights are already trained")
        stored = _compute(trainer, plan)
        if test.completions:
            stored[_TEST] = trainer.held_out_scores(test).reference
        if trainer.accelerator.is_main_process:
            temporary = path.with_name(f".{path.name}.tmp")
            save_file({name: value.contiguous() for name, value in stored.items()}, temporary, metadata={_DATA: data})
            os.replace(temporary, path)
    trainer.held_out_reference = stored.pop(_TEST, None)
    trainer.batches.reference = stored


def _compute(trainer: Any, plan: TrainingPlan) -> dict[str, torch.Tensor]:
    batches = trainer.batches
    if batches.mismatched:
        # y' depends on the position.
        wanted = list(range(len(batches.order)))
        place = torch.arange(len(batches.order))
    else:
        earliest = {row: at for at, row in reversed(list(enumerate(batches.order)))}
        wanted = sorted(earliest.values())
        index = {batches.order[at]: number for number, at in enumerate(wanted)}
        place = torch.tensor([index[row] for row in batches.order])
    names: list[str] = []

    def compute(indices: list[int]) -> torch.Tensor:
        columns = trainer.reference_columns(batches.at([wanted[index] for index in indices]))
        names[:] = columns
        return torch.stack(list(columns.values()), dim=-1)

    values = trainer.spread(len(wanted), plan.alignment.micro_batch_size, compute)[place]
    return dict(zip(names, values.unbind(-1), strict=True))


def _read(path: Path, data: str) -> dict[str, torch.Tensor] | None:
    if not path.exists():
        return None
    with safe_open(path, framework="pt") as file:
        if (file.metadata() or {}).get(_DATA) != data:
            return None
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)


def _fingerprint(trainer: Any, plan: TrainingPlan, test: HeldOut) -> str:
    """Hash of what the stored numbers depend on: the model's name, all rows in order, the test file's rows."""
    digest = hashlib.sha256(plan.model.encode())
    for part in (trainer.batches.rows, trainer.batches.order, test.completions):
        digest.update(repr(part).encode())
    return digest.hexdigest()
