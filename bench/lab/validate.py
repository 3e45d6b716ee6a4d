"""A validation: answers without hints, as a run's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bench.lab.model import Parameters
from bench.lab.rollouts import Lab, Rollout, roll, start_of
from recipes.algorithms.hints.schedule import sampling_seed
from recipes.common.run_dir import RunDir
from recipes.verl_plugin.validation import GREEDY, sampled_and_greedy, validation_accuracy


def validate(
    lab: Lab, weights: Parameters, test: Sequence[Mapping[str, Any]], step: int, folder: RunDir
) -> dict[str, float]:
    """val/*, of --val_samples answers to each problem with a greedy one beside them, or of that one alone; the answers
    go into the folder."""
    e = lab.experiment
    kinds = [1.0] * e.val_samples + [0.0]
    found: list[tuple[int, Rollout, bool]] = []
    for kind in dict.fromkeys(kinds):
        count = kinds.count(kind)
        rows = [row for row in test for _ in range(count)]
        starts = [start for row in test for start in [start_of(lab, row, {"pieces": 0})] * count]
        seed = sampling_seed(e.seed, step, "lab validation", 0)
        made = roll(lab, weights, rows, starts, temperature=kind, seed=seed)
        found += [(place // count, one, kind == 0) for place, one in enumerate(made)]
        part = folder.validation / "greedy" if kind == 0 and e.val_samples else folder.validation
        part.mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps({"input": str(row["prompt"][-1]["content"]), "output": one.text, "acc": one.verdict["acc"]})
            for row, one in zip(rows, made, strict=True)
        ]
        (part / f"{step}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sources = [str(test[place]["data_source"]) for place, _, _ in found]
    uids = [str(place) for place, _, _ in found]
    infos: dict[str, list[Any]] = {"acc": [one.verdict["acc"] for _, one, _ in found]}
    asked = {(source, uid): len(kinds) for source, uid in zip(sources, uids, strict=True)}
    if not e.val_samples:
        return validation_accuracy(sources, uids, infos, asked)
    return sampled_and_greedy(sources, uids, infos | {GREEDY: [int(greedy) for _, _, greedy in found]}, asked)
