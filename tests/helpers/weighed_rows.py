"""Rows of two prompts in a data plane in memory: hinted, failed, shown, bare and padding."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transfer_queue.metadata import KVBatchMeta

from recipes.algorithms import get_algorithm
from recipes.algorithms.base import Group
from recipes.verl_plugin import weighing
from recipes.verl_plugin.weighing import read_groups
from tests.helpers.data_planes import data_plane

UFT = get_algorithm("uft")


S = SimpleNamespace(sft_loss_coef=0.001, hint_nll_agg="token-mean", response_length=8)


# Prompt 0: a hinted rollout, one whose verdict failed, a demonstration. Prompt 1: a bare rollout. verl's padding, which
# copies its first row's record.
KEYS = ["1-0_0_0", "1-0_1_0", "1-0_2_0", "1-1_0_0", "padx_0_0"]


FAILED, SHOWN = {"1-0_1_0"}, {"1-0_2_0"}


HINTED = {"length": 2, "n_segments": 3, "hint_tokens": 2, "prompt_key": "p0"}


RECORDS = [HINTED, HINTED, {**HINTED, "length": 0, "hint_tokens": 0, "demonstration": 1}]
RECORDS += [{"length": 0, "n_segments": 3, "hint_tokens": 0, "prompt_key": "p1"}, HINTED]


MASKS = [[0, 0, 1, 1], [0, 0, 0], [0, 0, 0, 0, 0], [1, 1], [0]]


SCORES = [0.5, 0.7, 1.0, 0.1, 0.0]


def rows_of_two_prompts(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """In a data plane in memory."""
    rows: dict[str, dict[str, Any]] = {}
    for key, record, mask, score in zip(KEYS, RECORDS, MASKS, SCORES, strict=True):
        length = len(mask)
        scores = torch.zeros(length)
        scores[-1] = score
        rows[key] = {
            "extra_fields": {"uft": record},
            "responses": torch.arange(length),
            "response_mask": torch.tensor(mask),
            "loss_mask": torch.tensor(mask),
            "old_log_probs": -torch.ones(length),
            "entropy": torch.full((length,), 0.5),
            "rm_scores": scores,
        }

    return data_plane(monkeypatch, weighing, rows)


def batch() -> KVBatchMeta:
    padding = [{"is_padding": key in SHOWN or key.startswith("pad")} for key in KEYS]
    return KVBatchMeta(keys=list(KEYS), tags=padding, partition_id="train")


def groups(**more: Any) -> tuple[list[list[int]], list[Group]]:
    given: dict[str, Any] = {"failed": FAILED, "demonstrations": SHOWN, "step": 1, "reference": False, "shaped": False}
    return read_groups(batch(), **{**given, **more})
