"""A stage that evaluates a model: `python -m recipes.run.evaluate_stage FOLDER/evaluate.json`; results go to FOLDER."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import recipes.common.loopback  # noqa: F401  (a hook)
from eval.evaluate import GREEDY_ITEMS, ITEMS, evaluate, whole_lines
from eval.metrics import summarise
from eval.problems import Settings
from recipes.common.records import Records
from recipes.common.run_dir import RunDir, replace_metrics
from recipes.verl_plugin.validation import cut_off, of_greedy
from recipes.watch.heartbeat import NOTICE
from reward_fns import has_failed


def validation_metrics(
    items: Sequence[Mapping[str, Any]], greedy: Sequence[Mapping[str, Any]] = ()
) -> dict[str, float]:
    """val/* of an evaluation, computed and named as in training's validation: unweighted means over data sources, of
    answers that have a verdict; val/greedy* for greedy answers drawn in addition to sampled ones."""
    judged = [item for item in items if not has_failed(item)]
    counts = {"val/answers": float(len(judged)), "val/failed": float(len(items) - len(judged))}
    if not judged:
        return counts
    result: dict[str, Any] = summarise(judged)
    total = result["mean_over_sources_unweighted"]
    return {
        **counts,
        "val/acc": total["accuracy"],
        "val/format": total["format_rate"],
        "val/truncated": total["truncation_rate"],
        **{f"val/{name}": value for name, value in total.items() if name.startswith("pass@") and name != "pass@1"},
        **{f"val/acc/{source}": block["accuracy"] for source, block in result["sources"].items()},
        **(of_greedy(validation_metrics(greedy)) if greedy else {}),
    }


def main() -> None:
    """Evaluate, and add the result to the metrics of the run."""
    file = Path(sys.argv[1])
    folder, given = file.parent, json.loads(file.read_text())
    settings = Settings(**{**given["settings"], "sources": tuple(given["settings"]["sources"])})
    records = Records(folder, total_steps=1)

    def progress(done: int, total: int) -> None:
        records.headline({"problems": done, "of": total})
        records.phase("validating", 0)

    evaluate(settings, folder, **{name: given[name] for name in ("device", "gpu_memory", "ks")}, progress=progress)
    found = validation_metrics(*(whole_lines(folder / name) for name in (ITEMS, GREEDY_ITEMS)))
    if (line := cut_off(found, settings.max_response_length)) is not None:
        print(f"{NOTICE}{line}", flush=True)
    step = given["step"]
    if step is not None:
        replace_metrics(RunDir(Path(given["run"])).metrics, step, found)
    records.log(step or 0, found, again=True)
    records.phase("finished", 1)


if __name__ == "__main__":
    main()
