"""Times verl's plain GRPO update and ours on the same batch, interleaved, in one process (bench/hint_loss_cost.py)."""

import json
import os
import statistics
import tempfile
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.utils.losses import ppo_loss

from recipes.verl_plugin.actor_loss import TERMS, actor_loss, term_column
from recipes.verl_plugin.live_memory import peak_bytes
from recipes.verl_plugin.standalone import training_worker, update_batch

# Tokens per row on the CPU profile: prompt, hint (mean over the schedule), generation.
PROMPT, HINT, GENERATED = 11, 14, 22


def _columns(rows: int, vocabulary: int) -> dict[str, list[torch.Tensor]]:
    torch.manual_seed(0)
    length = HINT + GENERATED
    ids = torch.randint(1, vocabulary, (rows, PROMPT + length))
    mask = torch.cat([torch.zeros(rows, HINT), torch.ones(rows, GENERATED)], -1).long()
    tensors = {
        "input_ids": ids,
        "position_ids": torch.arange(PROMPT + length).expand(rows, -1),
        "prompts": ids[:, :PROMPT],
        "responses": ids[:, PROMPT:],
        "response_mask": mask,
        "loss_mask": mask,
        "old_log_probs": -torch.rand(rows, length),
        "ref_log_prob": -torch.rand(rows, length),
        "advantages": torch.randn(rows, length) * mask,
        term_column(0): (1.0 - mask) / (rows * HINT),
    }
    return {name: list(tensor) for name, tensor in tensors.items()}


def measure(model: str, rows: int, rounds: int) -> dict[str, Any]:
    """Median seconds per update with each loss, their per-round ratios, and the peak memory of tensors."""
    worker, actor, _, _ = training_worker(model, Path(tempfile.mkdtemp()))
    columns = _columns(rows, worker.model_config.hf_config.vocab_size)
    settings = omega_conf_to_dataclass(actor)
    losses = {
        "verl GRPO": (partial(ppo_loss, settings), 0.0),
        "ours, rft (weight 0)": (partial(actor_loss, settings), 0.0),
        "ours, uft": (partial(actor_loss, settings), 0.001),
    }

    def update(loss: Any, coef: float) -> float:
        data = update_batch(columns, **{TERMS: json.dumps([["hint_nll", coef, ""]]), "global_batch_size": rows})
        started = time.perf_counter()
        with worker.engine.train_mode():
            worker.engine.train_batch(data, loss_function=loss)
        return time.perf_counter() - started

    seconds: dict[str, list[float]] = {name: [] for name in losses}
    for turn in range(rounds + 2):
        for name, loss in losses.items():
            taken = update(*loss)
            # The first rounds warm up.
            if turn >= 2:
                seconds[name].append(taken)
    peaks = {name: peak_bytes(partial(update, *loss)) for name, loss in losses.items()}
    shape = {"rows": rows, "tokens_a_row": PROMPT + HINT + GENERATED, "hint_tokens_a_row": HINT, "rounds": rounds}
    found: dict[str, Any] = dict(shape)
    for name, values in seconds.items():
        ratios = sorted(ours / theirs for ours, theirs in zip(values, seconds["verl GRPO"], strict=True))
        found[name] = {
            "median_seconds": round(statistics.median(values), 4),
            "ratio_to_verl": round(statistics.median(ratios), 4),
            "ratio_quartiles": [round(ratios[len(ratios) // 4], 4), round(ratios[-1 - len(ratios) // 4], 4)],
            "peak_mib": round(peaks[name] / 2**20, 2),
            "peak_to_verl": round(peaks[name] / peaks["verl GRPO"], 4),
        }
    found["versions"] = {name: version(name) for name in ("verl", "torch", "transformers")}
    found["cores"] = os.cpu_count()
    return found
