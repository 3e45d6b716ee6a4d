"""Positions in a run's order -> batches, with TRL's own collators. TRL never sees the rows, only positions.

So `datasets` tokenises, maps and caches nothing, and every batch is known before the run starts.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from recipes.trl_plugin.plan import TrainingPlan
from recipes.trl_plugin.rows import Example

POSITION = "position"


def collator(plan: TrainingPlan, pad_token_id: int) -> Any:
    """TRL's collator for the method: pads on the right, truncates nothing."""
    if plan.method == "sft":
        return DataCollatorForLanguageModeling(pad_token_id=pad_token_id)
    if plan.pairwise:
        return DataCollatorForPreference(pad_token_id=pad_token_id)
    return DataCollatorForUnpairedPreference(pad_token_id=pad_token_id)


@dataclass
class Batches:
    """A run's collate function."""

    rows: list[Example]
    order: list[int]
    """The row index at each position of the run."""

    collate: Any
    step_rows: int
    """Rows per optimiser step."""

    mismatched: bool = False
    """Add KTO's mismatched completions (x_i, y_{i-1}), rotated within the optimiser step."""

    reference: dict[str, torch.Tensor] = field(default_factory=dict)
    """Stored log-probabilities of the reference by TRL's column name, (positions,) each; empty if not stored."""

    def __call__(self, features: list[dict[str, int]]) -> dict[str, torch.Tensor]:
        return self.at([feature[POSITION] for feature in features])

    def at(self, positions: list[int]) -> dict[str, torch.Tensor]:
        """The batch of these positions."""
        batch: dict[str, torch.Tensor] = self.collate([self._example(position) for position in positions])
        return batch

    def _example(self, position: int) -> Example:
        row = self.rows[self.order[position]]
        stored = {name: values[position].item() for name, values in self.reference.items()}
        if self.mismatched:
            # A step's mismatched completions come from the same step, regardless of the micro-batches.
            first = position - position % self.step_rows
            other = first + (position - first - 1) % self.step_rows
            stored["KL_completion_ids"] = self.rows[self.order[other]]["completion_ids"]
        return {**row, **stored}
