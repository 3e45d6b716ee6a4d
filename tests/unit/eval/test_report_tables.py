"""The tables of a report: results, their intervals, and time; nothing is made up."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import pytest

from eval.intervals import bootstrap
from eval.report import report
from eval.reporting.cells import markdown
from eval.reporting.groups import panels
from eval.reporting.read_runs import find_runs, load
from eval.reporting.tables import comma_separated, result_rows, results_table, timing_table
from recipes.common.run_dir import append_metrics, write_json, write_text
from tests.helpers.run_folders import answers, lines, settings_of, tables, write_run


def test_table_gives_mean_and_range_over_seeds(tmp_path: Path) -> None:
    for seed, right in enumerate(([2, 10, 8], [2, 6, 12])):
        write_run(tmp_path / f"uft-{seed}", settings_of("uft", seed=seed, T=10, T_hint=5), right)
    write_run(tmp_path / "rft", settings_of("rft", T=20, T_hint=5), [2, 4], finished=False)
    head, _, rft, uft = tables(tmp_path)
    assert head == "| algorithm | last | before | seeds | 95 % | df | minutes | peak memory | notes |"
    assert rft.startswith("| rft | 20.0% | 10.0% | 1 | ")
    assert rft.endswith(" |  |  |  | 1 seed; unfinished at step 5 of 20 |")
    assert uft.startswith("| uft | 50.0% (40.0% to 60.0%) | 10.0% | 2 | ")
    assert uft.endswith(" | 1 | 2.0 | 2.0 GiB |  |")
    # What was picked by its accuracy on these problems (55 % here) is no result on them.
    assert "55.0%" not in uft


def test_interval_holds_the_accuracy_and_needs_the_recorded_answers(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", settings_of("rft"), [4, 10])
    row = result_rows(panels([load(run)]))[0]
    assert row.interval is not None
    assert (row.interval.mean, row.interval.low) == (0.5, pytest.approx(0.28, abs=0.05))
    assert row.interval.high == pytest.approx(0.72, abs=0.05)
    # Answers that do not make the recorded accuracy are of something else.
    write_text(run / "validation" / "5.jsonl", lines(answers(9, 20)))
    row = result_rows(panels([load(run)]))[0]
    assert row.interval is None
    assert "no interval: the last answers were not kept" in row.notes


def test_an_interval_of_several_seeds_is_students_and_shows_its_degrees_of_freedom(tmp_path: Path) -> None:
    """Accuracies of 45, 50 and 55 %: 4.303 * 5 / sqrt(3) = 12.4 points over seeds. Over problems 9 of 20 are always
    right, one in 2 of 3 runs, one in 1 of 3: the two are squared and summed."""
    for seed, right in enumerate((9, 10, 11)):
        write_run(tmp_path / str(seed), settings_of("rft", seed=seed), [4, right])
    (row,) = result_rows(panels(find_runs([tmp_path])[0]))
    problems = bootstrap([1.0] * 9 + [2 / 3, 1 / 3] + [0.0] * 9)
    assert row.interval is not None
    assert row.df == 2
    assert row.interval.low == pytest.approx(0.5 - math.hypot(0.12421, 0.5 - problems.low), abs=1e-4)
    assert row.interval.high == pytest.approx(0.5 + math.hypot(0.12421, problems.high - 0.5), abs=1e-4)


def test_a_model_that_solves_nothing_has_an_interval_with_a_width(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path / str(seed), settings_of("rft", seed=seed), [0, 0], of=30)
    assert "| 0.0% | 0.0% | 3 | 0.0% to 11.4% | 2 |" in tables(tmp_path)[-1]


def test_seeds_tested_on_different_problems_have_no_interval(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / str(seed), settings_of("rft", seed=seed), [4, 10])
    other = [row | {"input": f"other {row['input']}"} for row in answers(10, 20)]
    write_text(tmp_path / "1" / "validation" / "5.jsonl", lines(other))
    assert "no interval: the seeds were tested on different problems" in tables(tmp_path)[-1]


def test_before_is_the_base_model_and_never_the_supervised_one(tmp_path: Path) -> None:
    chained = write_run(tmp_path / "run", settings_of("sft_rft"), [10, 12], finished=False)
    (chained / "sft").mkdir()
    assert load(chained).base_accuracy is None
    assert "| sft_rft | 60.0% | 1 |" in tables(chained)[-1]
    write_json(chained / "eval" / "base" / "results.json", {"accuracy": 0.05})
    assert load(chained).base_accuracy == 0.05
    write_json(chained / "eval" / "base" / "results.json", {"mean_over_sources_unweighted": {"accuracy": 0.15}})
    assert load(chained).base_accuracy == 0.15


def test_seeds_that_are_not_at_the_same_step_are_marked(tmp_path: Path) -> None:
    write_run(tmp_path / "0", settings_of("rft"), [2, 4, 6])
    write_run(tmp_path / "1", settings_of("rft", seed=1), [2, 4], finished=False)
    assert "seed 1 unfinished at step 5 of 500; last validations at different steps (5, 10)" in tables(tmp_path)[-1]


def test_a_run_with_nothing_recorded_yet_has_a_row_of_empty_cells(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    write_run(tmp_path / "old", settings_of("rft", T=10, T_hint=5), [2, 4])
    write_text(folder / "experiment.yaml", (tmp_path / "old" / "experiment.yaml").read_text().replace("rft", "uft"))
    assert tables(tmp_path)[-1] == "| uft |  |  | 1 |  |  |  | 1 seed; unfinished at step 0; not validated yet |"
    report([tmp_path], tmp_path / "report", "t")


def test_a_repeated_seed_is_not_counted_twice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / name, settings_of("rft"), [2, 4])
    write_run(tmp_path / "c", settings_of("rft", seed=1), [2, 8])
    (row,) = result_rows(panels(find_runs([tmp_path])[0]))
    assert (row.seeds, row.df) == (2, 1)
    assert "| 10.0% | 2 |" in tables(tmp_path)[-1]
    assert "3 runs, some with the same seed" in tables(tmp_path)[-1]


def test_csv_has_the_exact_numbers_and_empty_cells_for_unknown_ones(tmp_path: Path) -> None:
    write_run(tmp_path / "a", settings_of("uft", seed=0, T=10, T_hint=5), [2, 8])
    write_run(tmp_path / "b", settings_of("uft", seed=1, T=10, T_hint=5), [2, 12], finished=False)
    write_run(tmp_path / "c", settings_of("rft", T=10, T_hint=5), [2], finished=False)
    rows = list(csv.DictReader(io.StringIO(comma_separated(result_rows(panels(find_runs([tmp_path])[0]))))))
    rft, uft = rows
    assert (uft["task"], uft["algorithm"], uft["seeds"]) == ("countdown", "uft", "2")
    assert [float(uft[name]) for name in ("last_mean", "last_lowest", "last_highest")] == [0.5, 0.4, 0.6]
    assert float(uft["last_deviation"]) == pytest.approx(0.1 * 2**0.5)
    assert (uft["seconds_mean"], uft["peak_memory_bytes"]) == ("120.0", str(float(2**31)))
    assert (rft["seconds_mean"], rft["peak_memory_bytes"], rft["last_deviation"], rft["published"]) == ("",) * 4


def test_published_numbers_stand_beside_the_same_setting_only(tmp_path: Path) -> None:
    write_run(tmp_path / "same", settings_of("sft_rft"), [2, 4])
    assert "| 52.0% ±0.5% |" in tables(tmp_path)[-1]
    write_run(tmp_path / "short" / "run", settings_of("sft_rft", T=100, T_hint=60), [2, 4])
    assert "published" not in tables(tmp_path / "short")[0]


def test_timing_leaves_the_first_steps_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "uft", settings_of("uft"), [2, 4], test_freq=4)
    for step in (1, 2):
        append_metrics(run / "metrics.jsonl", step, {"timing_s/step": 99.0, "timing_s/gen": 99.0})
    text = markdown(timing_table(panels([load(run)])))
    assert "| uft | 0.50 | 0.50 | 0.50 | 0.50 | 0.50 | 0.50 | 2.00 | 250 | 1.5 s |  | 2.0 GiB |" in text


def test_timing_leaves_a_phase_empty_that_was_not_recorded(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", settings_of("rft"), [2], finished=False)
    for step in (3, 4):
        append_metrics(run / "metrics.jsonl", step, {"timing_s/step": 2.0, "timing_s/gen": 1.0})
    assert "| rft | 1.00 |  |  |  |  |  | 2.00 |  | 1.5 s |  |  |" in markdown(timing_table(panels([load(run)])))


def test_cells_cannot_break_a_table() -> None:
    table: Any = results_table([])
    assert markdown(table).count("\n") == 1
