"""A run in the lab: the stages of an algorithm one after another, and a run folder that eval/report.py can read."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from bench.lab.imitate import imitate
from bench.lab.reinforce import Reinforcement
from bench.lab.rollouts import Lab
from recipes.common.errors import ExperimentError
from recipes.common.run_dir import RunDir, read_metrics, write_json
from recipes.settings.experiment import Experiment
from recipes.settings.saved import read_experiment

Row = Mapping[str, Any]


def run(lab: Lab, parameters: Mapping[str, torch.Tensor], train: Sequence[Row], test: Sequence[Row], out: Path) -> None:
    """Make a run's stages and write its metrics, answers and summary into `out`.

    Raises:
        ExperimentError: for what the lab cannot do.
    """
    e, began = lab.experiment, time.time()
    refuse(e)
    weights = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    folder = RunDir(out)
    if "sft" in e.stages:
        alone = e.stages == ("sft",)
        stage = folder if alone else RunDir(out / "sft")
        imitate(lab, weights, [row for row in train if row["answer"]], stage, test if alone else None)
    if "rl" in e.stages:
        Reinforcement(lab, weights, folder).train(train, test)
    _summarise(lab, folder, time.time() - began)


def refuse(e: Experiment) -> None:
    """Raise ExperimentError for what the lab cannot do."""
    for wrong, why in (
        ("alignment" in e.stages, f"--algo {e.algo}: the lab trains on problems, not on answers"),
        ("critic" in e.algorithm.needs, f"--algo {e.algo}: the lab has no critic"),
        (e.mini_batch_size != e.batch_size, "--mini_batch_size: the lab makes one update per batch"),
        (e.temperature != 1, "--temperature: the lab draws at 1"),
        (e.lora_rank > 0, "--lora_rank: the lab trains all weights"),
    ):
        if wrong:
            raise ExperimentError(why)


def refuse_longer(run: RunDir, e: Experiment) -> None:
    """Raise ExperimentError if a folder has a finished run of another length, which the lab cannot go on with."""
    if run.summary.exists() and not run.experiment.exists():
        raise ExperimentError(f"{run.path} has a summary and no settings; choose another --out")
    if run.summary.exists() and (made := read_experiment(run.experiment).T) != e.T:
        raise ExperimentError(
            f"{run.path} has a finished run of --T {made}; the lab does not go on with it to --T {e.T}, "
            "choose another --out"
        )


def _summarise(lab: Lab, folder: RunDir, seconds: float) -> None:
    e = lab.experiment
    accuracy = [
        (row["step"], row["data"]["val/acc"]) for row in read_metrics(folder.metrics) if "val/acc" in row["data"]
    ]
    write_json(
        folder.summary,
        {
            "algo": e.algorithm.name,
            "data": e.data,
            "model": e.model,
            "experiment_hash": e.hash,
            "seed": e.seed,
            "lab": True,
            "val/acc before": accuracy[0][1],
            "val/acc last": accuracy[-1][1],
            "seconds": round(seconds, 1),
        },
    )
