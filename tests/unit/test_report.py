"""Reports from records: means and bands over seeds, tables with what was recorded, runs that are not finished."""

from pathlib import Path

import yaml

from eval.report import by_algorithm, draw_curves, load, table, timing_table
from recipes.run_dir import append_metrics, write_json


def run_folder(root: Path, algo: str, seed: int, accuracies: list[float], *, finished: bool = True) -> Path:
    folder = root / f"{algo}-{seed}"
    folder.mkdir()
    (folder / "experiment.yaml").write_text(yaml.safe_dump({"algo": algo, "seed": seed}))
    for i, accuracy in enumerate(accuracies):
        step = {"timing_s/step": 2.0, "perf/total_num_tokens": 500, "timing_s/validation": 1.5}
        phases = {
            f"timing_s/{name}": 0.5 for name in ("gen", "old_log_prob", "ref", "adv", "update_actor", "update_weights")
        }
        append_metrics(folder / "metrics.jsonl", 5 * i, {"val/acc": accuracy, "uft/hint_frac": 0.5, **step, **phases})
    if finished:
        write_json(folder / "summary.json", {"seconds": 120.0, "peak_memory_bytes": 2**31})
    return folder


def test_table_gives_mean_and_range_over_seeds(tmp_path: Path) -> None:
    folders = [run_folder(tmp_path, "uft", 0, [0.1, 0.5, 0.4]), run_folder(tmp_path, "uft", 1, [0.1, 0.3, 0.6])]
    folders.append(run_folder(tmp_path, "rft", 0, [0.1, 0.2], finished=False))
    lines = table([load(folder) for folder in folders]).splitlines()
    assert lines[2] == "| rft | 1 | 10.0% | 20.0% | 20.0% | running |"
    assert lines[3] == "| uft | 2 | 10.0% (10.0% to 10.0%) | 50.0% (40.0% to 60.0%) | 55.0% (50.0% to 60.0%) | 2.0 |"


def test_timing_leaves_the_first_steps_out(tmp_path: Path) -> None:
    text = timing_table([load(run_folder(tmp_path, "uft", 0, [0.1, 0.2, 0.3]))])
    assert "| uft | 0.50 | 0.50 | 0.50 | 0.50 | 0.50 | 0.50 | 2.00 | 250 | 1.5 s |  | 2.0 GiB |" in text


def test_curves_are_drawn_for_unfinished_runs_too(tmp_path: Path) -> None:
    curves = [load(run_folder(tmp_path, algo, 0, [0.1, 0.2], finished=False)) for algo in ("sft", "uft", "rft")]
    assert list(by_algorithm(curves)) == ["sft", "rft", "uft"]
    draw_curves(curves, tmp_path / "a" / "curves.png", "countdown")
    assert (tmp_path / "a/curves.png").stat().st_size > 10_000
