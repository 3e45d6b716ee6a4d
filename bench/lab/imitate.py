"""The supervised stage, as recipes/verl_plugin/sft_main.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import DistributedSampler
from transformers import get_cosine_schedule_with_warmup

from bench.lab.losses import score
from bench.lab.model import Parameters
from bench.lab.optimise import DECAY, descend
from bench.lab.rollouts import Lab
from bench.lab.validate import validate
from data_prep.tokens import closed, opened
from recipes.common.records import Records
from recipes.common.run_dir import RunDir

Row = Mapping[str, Any]


def imitate(lab: Lab, weights: Parameters, rows: Sequence[Row], folder: RunDir, test: Sequence[Row] | None) -> None:
    """The supervised stage, as recipes/verl_plugin/sft_main.py; validated before and after it where nothing follows."""
    e, shape = lab.experiment, lab.experiment.algorithm.supervised
    pairs = [solution_tokens(lab, row) for row in rows]
    per_epoch = len(pairs) // e.batch_size
    records = Records(folder.path, per_epoch * e.sft_epochs)
    optimiser = torch.optim.AdamW(weights.values(), lr=e.sft_lr, betas=(0.9, 0.95), weight_decay=DECAY)
    warm = int(0.1 * per_epoch * e.sft_epochs)
    schedule = get_cosine_schedule_with_warmup(optimiser, warm, per_epoch * e.sft_epochs)
    if test is not None:
        records.log(0, validate(lab, weights, test, 0, folder))
    sampler: DistributedSampler[Any] = DistributedSampler(pairs, num_replicas=1, rank=0, seed=e.seed, drop_last=True)
    step = trained = 0
    for epoch in range(e.sft_epochs):
        sampler.set_epoch(epoch)
        order = list(sampler)
        for at in range(0, per_epoch * e.batch_size, e.batch_size):
            batch = [pairs[place] for place in order[at : at + e.batch_size]]
            found = score(weights, lab.shape, [a for a, _ in batch], [b for _, b in batch]).log_probs
            factor = found if shape is None else shape(found.detach().exp()) * found
            count = sum(len(b) for _, b in batch)
            loss = -factor.sum() / count  # padding is 0
            descend(optimiser, weights, loss)
            schedule.step()
            step, trained = step + 1, trained + count
            records.log(step, {"train/loss": loss.item(), "lab/trained": trained})
    if test is not None:
        records.log(step, validate(lab, weights, test, step, folder))


def solution_tokens(lab: Lab, row: Row) -> tuple[list[int], list[int]]:
    messages = list(row["prompt"])
    thought = opened(lab.tokenizer, messages, **lab.template)
    return lab.encode(messages), closed(lab.tokenizer, row["answer"], thought)
