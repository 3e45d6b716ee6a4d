"""The end of a run: what it took, summary.json, and where everything is."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from eval.evaluate import RESULTS
from recipes.datafiles import DataFiles
from recipes.experiment import Experiment
from recipes.run_dir import RunDir, publish, read_metrics, write_json
from recipes.stages import OWN_TEXTS
from recipes.watch.supervise import Outcome

SPENT = "spent.json"


def count(run: RunDir, outcome: Outcome) -> None:
    """Add the time of a part to the run's, which may have been killed and resumed."""
    before = _spent(run)
    peak = max(before["peak_memory_bytes"] or 0, outcome.peak_rss_bytes)
    # On a full disk the outcome is what people need to hear of.
    with suppress(OSError):
        write_json(run.path / SPENT, {"seconds": before["seconds"] + outcome.seconds, "peak_memory_bytes": peak})


def _spent(run: RunDir) -> dict[str, Any]:
    """Seconds and peak memory of all parts of a run so far (of one that was killed itself, nothing is known)."""
    for file in (run.path / SPENT, run.summary):
        if file.exists():
            found = json.loads(file.read_text(encoding="utf-8"))
            return {"seconds": found["seconds"], "peak_memory_bytes": found["peak_memory_bytes"]}
    return {"seconds": 0.0, "peak_memory_bytes": None}


def close(experiment: Experiment, run: RunDir, files: DataFiles) -> None:
    """Write summary.json, and print where everything is and how much was gained."""
    if experiment.stages == ("sft",):
        publish(run.hf / "last", run.hf / "best")
    accuracy = [(row["step"], row["data"]["val/acc"]) for row in read_metrics(run.metrics) if "val/acc" in row["data"]]
    accuracy.sort()
    best = max(accuracy, key=lambda point: point[1], default=None)
    base = run.path / "eval/base/results.json"
    before = accuracy[0][1] if accuracy else None
    if base.exists():
        before = json.loads(base.read_text())["mean_over_sources_unweighted"]["accuracy"]
    spent = _spent(run)
    summary = {
        "algo": experiment.algorithm.name,
        "data": experiment.data,
        "model": experiment.model,
        "experiment_hash": experiment.hash,
        "seed": experiment.seed,
        "val/acc before": before,
        "val/acc last": accuracy[-1][1] if accuracy else None,
        "val/acc best": best[1] if best else None,
        "best step": best[0] if best else None,
        "seconds": round(spent["seconds"], 1),
        "peak_memory_bytes": spent["peak_memory_bytes"],
    }
    write_json(run.summary, summary)
    also = {"best step": run.hf / "best", "adapter": run.hf / "adapter"}
    named = ", ".join(f"{name}: {short(path)}" for name, path in also.items() if path.exists())
    lines = [f"\nweights        {short(run.hf / 'last')}" + (f"  ({named})" if named else "")]
    lines.append(f"metrics        {short(run.metrics)}, {short(run.path / 'tensorboard')}")
    answers_in = next((path for path in (run.validation, run.path / "eval") if path.exists()), None)
    lines += [] if answers_in is None else [f"answers        {short(answers_in)}"]
    if best and before is not None:
        answers = run.validation / f"{accuracy[-1][0]}.jsonl"
        problems = files.n_test if experiment.val_size < 0 else min(experiment.val_size, files.n_test)
        if answers.exists():
            # verl leaves out problems with long prompts.
            problems = len(answers.read_bytes().splitlines()) // max(1, experiment.val_samples)
        how = f"{experiment.val_samples} sampled answers each" if experiment.val_samples else "greedy"
        lines.append(
            f"accuracy       {before:.1%} before, {accuracy[-1][1]:.1%} after  ({problems} problems, {how}; the "
            f"highest of {len(accuracy)} validations on them is {best[1]:.1%} at step {best[0]})"
        )
    measured = run.path / OWN_TEXTS / RESULTS
    if measured.exists():
        forgot = json.loads(measured.read_text(encoding="utf-8"))
        texts = "it wrote itself" if forgot["written"] else "like those it was pre-trained on"
        lines.append(
            f"forgetting     {forgot['nats']:+.3f} nats a token on {forgot['texts']} texts of the base, {texts}"
        )
    learnt_nothing = [row["data"].get("uft/groups_without_variance") for row in read_metrics(run.metrics)]
    if (known := [share for share in learnt_nothing if share is not None]) and min(known) == 1:
        lines.append("note           no two answers to a problem ever differed in reward: rewards taught nothing")
    lines.append(f"time           {spent['seconds'] / 60:.1f} min")
    print("\n".join(lines), flush=True)


def short(path: Path) -> str:
    """A path as people read it: from the working folder, where it lies in it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
