"""Reports: which runs are found and averaged, what the tables say of them, and that nothing is made up."""

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
from eval.reporting.curves import styled
from eval.reporting.groups import panels
from eval.reporting.pairs import pairs_of, pairs_table, reading
from eval.reporting.read_runs import NotARun, find_runs, load, read_lines, verdicts
from eval.reporting.settings import common, differences
from eval.reporting.style import colour
from eval.reporting.tables import comma_separated, result_rows, results_table, timing_table
from eval.reporting.training import own_quantities
from recipes.common.run_dir import append_metrics, write_json, write_text
from tests.helpers.run_folders import answers, lines, settings_of, write_run


def tables(*folders: Path) -> list[str]:
    return markdown(results_table(result_rows(panels(find_runs(folders)[0])))).splitlines()


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


def test_the_same_question_twice_is_two_problems(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", settings_of("rft"), [1, 1], of=2)
    write_text(run / "validation" / "5.jsonl", lines([row | {"input": "same"} for row in answers(1, 2)]))
    assert verdicts(load(run)) == {("same", 0): 1.0, ("same", 1): 0.0}


def test_a_problem_is_the_same_with_the_special_tokens_of_its_prompt_and_without(tmp_path: Path) -> None:
    """Earlier runs kept none of them, and are still compared with later ones problem by problem."""
    run = write_run(tmp_path / "run", settings_of("rft"), [1, 1], of=2)
    for text in ("user\nsame", "<|im_start|>user\nsame<|im_end|>"):
        write_text(run / "validation" / "5.jsonl", lines([row | {"input": text} for row in answers(1, 2)]))
        assert verdicts(load(run)) == {("user\nsame", 0): 1.0, ("user\nsame", 1): 0.0}


def test_several_answers_to_a_problem_are_one_observation_of_it(tmp_path: Path) -> None:
    """Else four answers each would count as four times the problems, and the interval be half as wide as it is."""
    run = write_run(tmp_path / "run", {**settings_of("rft"), "val_samples": 2}, [3, 3], of=6)
    inputs = ["same", "same", "other", "other", "same", "same"]
    rows = [row | {"input": text} for row, text in zip(answers(3, 6), inputs, strict=True)]
    write_text(run / "validation" / "5.jsonl", lines(rows))
    assert verdicts(load(run)) == {("same", 0): 1.0, ("other", 0): 0.5, ("same", 1): 0.0}


def test_runs_that_differ_in_more_than_the_seed_are_never_averaged(tmp_path: Path) -> None:
    write_run(tmp_path / "a", settings_of("uft", T_hint=200), [2, 4])
    write_run(tmp_path / "b", settings_of("uft", T_hint=300), [2, 8])
    write_run(tmp_path / "c", settings_of("uft", T_hint=300, seed=1, log_rollouts=3), [2, 10])
    groups = panels(find_runs([tmp_path])[0])[0].groups
    assert [(group.label, group.seeds) for group in groups] == [("uft, T_hint 200", 1), ("uft, T_hint 300", 2)]


def test_a_panel_is_a_task_with_a_model(tmp_path: Path) -> None:
    write_run(tmp_path / "a", settings_of("rft"), [2, 4])
    write_run(tmp_path / "b", settings_of("rft", model="Qwen/Qwen2.5-3B"), [2, 4])
    write_run(tmp_path / "c", settings_of("rft", data="kk_logic"), [2, 4])
    titles = [panel.title for panel in panels(find_runs([tmp_path])[0])]
    assert titles == ["countdown, Qwen2.5-0.5B", "countdown, Qwen2.5-3B", "kk_logic, Qwen2.5-0.5B"]
    assert tables(tmp_path)[2].startswith("| countdown, Qwen2.5-0.5B | rft |")


def test_the_same_task_with_other_data_is_another_panel(tmp_path: Path) -> None:
    easy = settings_of("rft") | {"data_options": {"n_train": 64, "sizes": [3]}}
    write_run(tmp_path / "a", settings_of("rft"), [2, 4])
    write_run(tmp_path / "b", easy, [2, 4])
    titles = [panel.title for panel in panels(find_runs([tmp_path])[0])]
    assert len(titles) == 2
    assert (
        "countdown, Qwen2.5-0.5B, n_train: 64, sizes: [3]" in titles or "countdown, n_train: 64, sizes: [3]" in titles
    )


def test_algorithms_keep_their_order_and_unknown_ones_follow(tmp_path: Path) -> None:
    for algo in ("zeta", "uft", "sft", "alpha", "rft"):
        write_run(tmp_path / algo, settings_of("rft") | {"algo": algo}, [2, 4])
    groups = panels(find_runs([tmp_path])[0])[0].groups
    assert [group.algo for group in groups] == ["sft", "rft", "uft", "alpha", "zeta"]


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


def compared(folder: Path) -> list[dict[str, str]]:
    table = pairs_table(pairs_of(panels(find_runs([folder])[0])))
    return [dict(zip(table.head, row, strict=True)) for row in table.rows]


def test_one_seed_is_compared_problem_by_problem(tmp_path: Path) -> None:
    write_run(tmp_path / "a", settings_of("rft"), [2, 4])
    write_run(tmp_path / "b", settings_of("uft"), [2, 12])
    write_run(tmp_path / "c", settings_of("r3"), [2, 12], finished=False)
    (row,) = compared(tmp_path)
    assert (row["compared"], row["seeds"], row["difference"]) == ("uft - rft", "1", "+40.0")
    assert (row["p"], row["test"]) == ("0.008", "McNemar, problems only")
    assert not {"df", "95 % over seeds", "95 % over both"} & row.keys()
    assert "compares two models, not two algorithms" in reading(pairs_of(panels(find_runs([tmp_path])[0])))


def test_seeds_are_random_and_their_difference_is_tested_by_t(tmp_path: Path) -> None:
    """Differences of 40, 10 and 40 points: 30 +- 4.303 * 17.32 / sqrt(3) = 30 +- 43."""
    for seed, (rft, uft) in enumerate(((4, 12), (6, 8), (3, 11))):
        write_run(tmp_path / f"a{seed}", settings_of("rft", seed=seed), [2, rft])
        write_run(tmp_path / f"b{seed}", settings_of("uft", seed=seed), [2, uft])
    (row,) = compared(tmp_path)
    assert (row["seeds"], row["difference"], row["by seed"]) == ("3", "+30.0", "+40.0 +10.0 +40.0")
    assert (row["95 % over seeds"], row["df"]) == ("-13.0 to +73.0", "2")
    low, high = (float(end) for end in row["95 % over both"].split(" to "))
    below, above = (float(end) - 30 for end in row["95 % over problems"].split(" to "))
    assert (low, high) == (
        pytest.approx(30 - math.hypot(43.03, below), abs=0.1),
        pytest.approx(30 + math.hypot(43.03, above), abs=0.1),
    )
    # Seeds taken as fixed, 8 of 20 problems won and none lost would be p = .008.
    assert 0.05 < float(row["p"]) < 0.2


def test_algorithms_with_other_seeds_are_two_samples(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path / f"a{seed}", settings_of("rft", seed=seed), [2, 4 + seed])
    for seed in (5, 6):
        write_run(tmp_path / f"b{seed}", settings_of("uft", seed=seed), [2, 10 + seed])
    (row,) = compared(tmp_path)
    assert (row["seeds"], row["df"], row["difference"]) == ("2 and 3", "1", "+52.5")
    # Deviations .05 of 3 and .0354 of 2: error .0382, t of 1 degree of freedom 12.706.
    assert row["95 % over seeds"] == "+4.0 to +101.0"


def test_p_values_are_corrected_for_their_number(tmp_path: Path) -> None:
    for algo, right in (("rft", 4), ("uft", 12), ("r3", 13)):
        write_run(tmp_path / algo, settings_of(algo), [2, right])
    rows = {row["compared"]: row for row in compared(tmp_path)}
    assert {name: row["p"] for name, row in rows.items()} == {
        "r3 - rft": "0.004",
        "uft - rft": "0.008",
        "uft - r3": "1.000",
    }
    assert [rows[name]["p, Holm"] for name in ("r3 - rft", "uft - rft", "uft - r3")] == ["0.012", "0.016", "1.000"]


def test_settings_say_what_differs_and_what_does_not(tmp_path: Path) -> None:
    write_run(tmp_path / "a", settings_of("rft", lr=1e-6), [2, 4])
    write_run(tmp_path / "b", settings_of("rft", lr=1e-6, seed=1), [2, 4])
    write_run(tmp_path / "c", settings_of("uft", lr=2e-6), [2, 4])
    places = panels(find_runs([tmp_path])[0])
    different = differences(places)
    assert different.head == ("setting", "rft", "uft")
    assert ("lr", "1e-06", "2e-06") in different.rows
    assert ("seed", "0, 1", "0") in different.rows
    shared = dict(common(places).rows)
    assert (shared["T"], shared["model"]) == ("500", "Qwen/Qwen2.5-0.5B")
    assert not set(shared) & {row[0] for row in different.rows}


def test_runs_are_found_in_folders_of_runs_and_others_are_named(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    write_run(sweep / "lr_1" / "seed_0", settings_of("rft"), [2, 4])
    write_run(sweep / "lr_1" / "seed_1", settings_of("rft", seed=1), [2, 4])
    # A run's own folders are not runs of their own.
    write_run(sweep / "lr_1" / "seed_0" / "sft", settings_of("sft"), [2, 4])
    (tmp_path / "empty").mkdir()
    broken = tmp_path / "broken"
    write_text(broken / "experiment.yaml", "algo: [")
    evaluation = tmp_path / "evaluation"
    write_text(evaluation / "experiment.yaml", "algo: rft")
    (evaluation / "eval" / "given").mkdir(parents=True)
    given = [sweep, sweep / "lr_1", tmp_path / "empty", tmp_path / "gone", broken, evaluation]
    runs, skipped = find_runs(given)
    assert [run.name for run in runs] == ["seed_0", "seed_1"]
    assert {folder.name: why for folder, why in skipped} == {
        "empty": "has no run (no experiment.yaml)",
        "gone": "is not a folder",
        "broken": "its experiment.yaml cannot be read (ParserError)",
        "evaluation": "is an evaluation, not a training run",
    }


@pytest.mark.parametrize("content", ["", "- a list", "seed: 0"])
def test_settings_without_an_algorithm_are_no_run(tmp_path: Path, content: str) -> None:
    write_text(tmp_path / "experiment.yaml", content)
    with pytest.raises(NotARun, match="names no algo"):
        load(tmp_path)


def test_torn_and_odd_lines_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "1.jsonl"
    file.write_text('{"output": "a\u2028b"}\n[1]\n\n{"output": "tor', encoding="utf-8")
    assert read_lines(file) == [{"output": "a\u2028b"}]
    assert read_lines(tmp_path / "none.jsonl") == []


def test_cells_cannot_break_a_table() -> None:
    table: Any = results_table([])
    assert markdown(table).count("\n") == 1


def test_metrics_of_an_algorithms_own_have_panels(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "relift", settings_of("relift"), [2, 4])
    for step in range(1, 6):
        own = {"uft/unsolved": 3.0, "due/nll": 1.0, "actor/demonstration": 0.1, "uft/hint_reliance": 0.2}
        append_metrics(folder / "metrics.jsonl", step, {**own, "actor/perf/mfu": 1.0, "uft/rollout_digest": 1.0})
    (panel,) = panels(find_runs([tmp_path])[0])
    keys = [each.key for each in own_quantities(panel.groups)]
    assert keys == ["uft/hint_reliance", "actor/demonstration", "due/nll", "uft/unsolved"]


def test_lines_of_one_colour_differ_by_their_dashes(tmp_path: Path) -> None:
    names = ["luffy", "dft", "relift", "opsd", "sdpo"]
    for name in names:
        write_run(tmp_path / name, settings_of(name), [2, 4])
    (panel,) = panels(find_runs([tmp_path])[0])
    drawn = {(colour(group.algo), str(line)) for group, line in styled(panel.groups)}
    assert len(drawn) == len(names)
