"""Algorithms of a report compared in pairs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from eval.reporting.groups import panels
from eval.reporting.pairs import pairs_of, pairs_table, reading
from eval.reporting.read_runs import find_runs
from tests.helpers.run_folders import settings_of, write_run


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
