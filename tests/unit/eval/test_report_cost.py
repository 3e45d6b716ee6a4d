"""Accuracy by what it cost: tokens, minutes, areas and equal cost, against numbers computed by hand."""

import json
import math
from pathlib import Path

import pytest

from eval.reporting.cost import accuracy_at, cost_table, costs, curve, equal_cost_table, mean_up_to, verdicts_at_cost
from eval.reporting.groups import panels
from eval.reporting.read_runs import load
from recipes.common.run_dir import append_metrics, write_json
from tests.helpers.run_folders import settings_of, write_run

# 8 problems x 5 rollouts x 30 generated tokens a step; 500 tokens in updates and two seconds (helpers/run_folders.py).
SIZES = {"batch_size": 8, "mini_batch_size": 8, "n_rollout": 5}
GENERATED = 8 * 5 * 30 / 1e6


def test_a_run_costs_what_its_steps_do(tmp_path: Path) -> None:
    run = load(write_run(tmp_path / "run", settings_of("rft", **SIZES), [4, 8, 12]))
    found = costs(run)[10]
    assert (found.generated, found.updates, found.minutes) == pytest.approx((10 * GENERATED, 0.005, 20 / 60))


def test_a_supervised_stage_before_counts_and_the_base_model_is_its_beginning(tmp_path: Path) -> None:
    """Three supervised steps of 1,000 tokens, ten seconds apart: half a minute."""
    run = write_run(tmp_path / "run", settings_of("sft_rft", **SIZES), [12, 16])
    (run / "sft").mkdir()
    for step in (1, 2, 3):
        append_metrics(run / "sft/metrics.jsonl", step, {"train/loss": 1.0, "train/global_tokens": 1000})
    rows = (run / "sft/metrics.jsonl").read_text().splitlines()
    stamped = [row.replace(row.split('"time": ')[1].split(",")[0], str(100.0 + 10 * at)) for at, row in enumerate(rows)]
    (run / "sft/metrics.jsonl").write_text("\n".join(stamped) + "\n")
    write_json(run / "summary.json", {"seconds": 120.0, "val/acc before": 0.2})
    [group] = panels([load(run)])[0].groups
    cost, accuracy = curve(group, "updates")
    assert cost == pytest.approx([0.0, 0.003, 0.0055])
    assert accuracy == [0.2, 0.6, 0.8]
    assert curve(group, "minutes")[0] == pytest.approx([0.0, 0.5, 0.5 + 10 / 60])
    assert curve(group, "generated")[0] == pytest.approx([0.0, 5 * GENERATED])


def test_validations_and_the_hour_until_a_resume_are_no_steps(tmp_path: Path) -> None:
    """Six steps of two seconds; five seconds of validation after the third, an hour before the fifth."""
    run = write_run(tmp_path / "run", settings_of("sft"), [2])
    at, lines = 100.0, []
    for step in range(1, 7):
        at += {5: 3600.0}.get(step, 2.0)
        lines.append({"step": step, "time": at, "data": {"train/loss": 1.0}})
        if step == 3:
            at += 5.0
            lines.append({"step": step, "time": at, "data": {"val/loss": 1.0}})
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert costs(load(run))[6].minutes == pytest.approx(12 / 60)


def test_answers_are_counted_as_they_came_where_an_override_changed_their_number(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", settings_of("rft", **SIZES), [4, 8])
    for step in range(1, 6):
        append_metrics(run / "metrics.jsonl", step, {"uft/generated": 2400.0})
    assert costs(load(run))[5].generated == pytest.approx(5 * 2400 / 1e6)


def test_between_two_validations_accuracy_is_on_the_line_and_the_mean_is_the_area() -> None:
    found = ([0.0, 2.0, 4.0], [0.0, 0.4, 0.8])
    assert accuracy_at(found, 3.0) == pytest.approx(0.6)
    assert mean_up_to(found, 4.0) == pytest.approx(0.4)
    assert mean_up_to(found, 3.0) == pytest.approx((0.4 * 2 / 2 + (0.4 + 0.6) / 2) / 3)
    late = ([2.0, 4.0], [0.4, 0.8])
    assert accuracy_at(late, 2.0) == 0.4
    assert mean_up_to(late, 2.0) is mean_up_to(late, 3.0) is None, "nothing is known of the beginning"
    assert accuracy_at(found, 5.0) is mean_up_to(found, 5.0) is accuracy_at(([], []), 1.0) is None


def test_equal_cost_is_where_the_cheapest_ended(tmp_path: Path) -> None:
    """Ten steps of one, five of the other: the first is read at its fifth."""
    write_run(tmp_path / "a", settings_of("uft", **SIZES), [0, 4, 16])
    write_run(tmp_path / "b", settings_of("rft", **SIZES), [0, 8])
    write_run(tmp_path / "c", settings_of("sft"), [0])
    table = cost_table(panels([load(tmp_path / name) for name in "abc"]))
    rows = {row[0]: dict(zip(table.head, row, strict=True)) for row in table.rows}
    assert rows["uft"]["at equal generated"] == "20.0%"
    assert rows["uft"]["mean up to there (generated)"] == "10.0%"
    assert rows["rft"]["at equal generated"] == "40.0%"
    assert rows["uft"]["million tokens generated"] == f"{10 * GENERATED:.3g}"
    assert rows["sft"]["at equal generated"] == ""


def test_pairs_at_equal_tokens_are_by_seed_and_need_the_same_seeds(tmp_path: Path) -> None:
    """Ten steps of uft, five of rft: uft is read at its fifth, .20 and .40 of 20 problems; rft ends at .40 and .50."""
    for seed, (mine, theirs) in enumerate([([0, 4, 16], [0, 8]), ([0, 8, 16], [0, 10])]):
        write_run(tmp_path / f"a{seed}", settings_of("uft", seed=seed, **SIZES), mine)
        write_run(tmp_path / f"b{seed}", settings_of("rft", seed=seed, **SIZES), theirs)
    write_run(tmp_path / "c0", settings_of("r3", seed=0, **SIZES), [0, 8])
    table = equal_cost_table(panels([load(tmp_path / name) for name in ("a0", "a1", "b0", "b1", "c0")]))
    rows = [dict(zip(table.head, row, strict=True)) for row in table.rows]
    assert [row["compared"] for row in rows] == ["uft - rft"] * 2, "r3 has one seed, the others two"
    assert {row["at equal tokens"] for row in rows} == {"generated", "in updates"}
    # Differences -20 and -10 points: mean -15, standard error 5, t = 3, one degree of freedom: p = 2 atan(1/3) / pi.
    for row in rows:
        assert (row["difference"], row["by seed"]) == ("-15.0", "-20.0 -10.0")
        assert row["95 % over seeds"] == "-78.5 to +48.5"
        # Over both: uft is wrong where rft is right on four problems of twenty with one seed, on two others with the
        # other. Of twenty problems drawn anew, 2 to 10 are among these six: half a point in twenty each, -25 to -5.
        half = math.hypot(5 * 12.7062, 10)
        assert row["95 % over both"] == f"{-15 - half:+.1f} to {-15 + half:+.1f}"
        # t 2.73 over seeds (2 atan(1 / t) / pi) and z 1.22 over problems are equally rare: 5 t and 5.1 z make 15.
        assert row["p"] == "0.223"
    for name in ("a0", "b0"):
        (tmp_path / name / "validation/5.jsonl").unlink()
    table = equal_cost_table(panels([load(tmp_path / name) for name in ("a0", "a1", "b0", "b1")]))
    for row in (dict(zip(table.head, row, strict=True)) for row in table.rows):
        assert (row.get("95 % over both"), row["p"]) == (None, "0.205"), "over seeds alone where answers were not kept"


def test_between_two_validations_each_problem_is_on_its_own_line(tmp_path: Path) -> None:
    run = load(write_run(tmp_path / "a", settings_of("uft", **SIZES), [0, 4, 16]))
    found = verdicts_at_cost(run, "generated", 7.5 * GENERATED)
    assert sorted(found.values()) == pytest.approx([0.0] * 4 + [0.5] * 12 + [1.0] * 4)
    assert verdicts_at_cost(run, "generated", 10.1 * GENERATED) == {}, "after the last validation"
