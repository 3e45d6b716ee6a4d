"""Run folders for tests of reports, written with the functions that real runs use."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from eval.reporting.cells import markdown
from eval.reporting.groups import panels
from eval.reporting.read_runs import find_runs
from eval.reporting.tables import result_rows, results_table
from recipes.common.run_dir import append_metrics, write_json, write_text
from recipes.flags.resolve import build_experiment
from recipes.settings.profiles import PROFILES

PHASES = ("gen", "old_log_prob", "ref", "adv", "update_actor", "update_weights")


def settings_of(algo: str, **flags: Any) -> dict[str, Any]:
    """What experiment.yaml holds of a run on two GPUs with the paper's settings."""
    flags = {"algo": algo, "data": "countdown", "model": "Qwen/Qwen2.5-0.5B", **flags}
    return json.loads(json.dumps(asdict(build_experiment(flags, PROFILES["h100x2"]))))


def rollout(
    step: int, number: int, *, hint: str = "1 + 2 = 3\n", output: str = "so it is", **more: Any
) -> dict[str, Any]:
    row = {"key": f"{step:07d}-{number}", "prompt": "User: a question", "hint": hint, "output": output, "length": 1}
    return row | {"n_segments": 3, "hint_tokens": 6, "gen_tokens": 4, "truncated": 0, "score": 1.0, "pred": "3"} | more


def answers(right: int, of: int) -> list[dict[str, Any]]:
    """Validation answers: the first `right` of `of` problems are right."""
    return [
        {"input": f"problem {number}", "output": f"answer {number}", "acc": float(number < right), "score": 0.1}
        for number in range(of)
    ]


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def write_run(
    folder: Path,
    settings: dict[str, Any],
    right: list[int],
    *,
    of: int = 20,
    test_freq: int = 5,
    finished: bool = True,
    hints: bool = False,
) -> Path:
    """A run that was validated every test_freq steps, with right[i] of `of` problems right the i-th time."""
    folder.mkdir(parents=True)
    write_text(folder / "experiment.yaml", yaml.safe_dump(settings, sort_keys=False))
    for step in range((len(right) - 1) * test_freq + 1):
        data: dict[str, float] = {}
        if step % test_freq == 0:
            data |= {"val/acc": right[step // test_freq] / of, "timing_s/validation": 1.5}
            write_text(folder / "validation" / f"{step}.jsonl", lines(answers(right[step // test_freq], of)))
        if step:
            data |= {f"timing_s/{phase}": 0.5 for phase in PHASES} | {"timing_s/step": 2.0}
            data |= {"perf/total_num_tokens": 500, "critic/score/mean": 0.5, "actor/pg_loss": math.sin(step) / 100}
            data |= {"actor/entropy": 0.2, "uft/gen_tokens": 30.0, "uft/score/l=0": 0.4}
            if hints:
                data |= {"uft/hint_tokens": 9.0, "uft/hint_frac": 0.5, "uft/score/l=2": 0.9, "actor/hint_nll": 0.3}
            write_text(folder / "rollouts" / f"{step}.jsonl", lines([rollout(step, 0), rollout(step, 1, score=0.1)]))
        append_metrics(folder / "metrics.jsonl", step, data)
    last = (len(right) - 1) * test_freq
    write_json(folder / "progress.json", {"step": last, "total_steps": settings.get("T", last)})
    if finished:
        write_json(
            folder / "summary.json", {"seconds": 120.0, "peak_memory_bytes": 2**31, "val/acc before": right[0] / of}
        )
    return folder


def tables(*folders: Path) -> list[str]:
    """Lines of the table of results of the runs in these folders."""
    return markdown(results_table(result_rows(panels(find_runs(folders)[0])))).splitlines()
