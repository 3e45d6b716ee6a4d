"""results/countdown_cpu says what its committed numbers give."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from bench.kept_intervals import FOLDER, main, pairs_of


def test_the_committed_files_are_what_the_command_writes(tmp_path: Path) -> None:
    written = ("table.md", "table.csv", "pairs.md")
    for name in ("kept.json", *written):
        shutil.copy(FOLDER / name, tmp_path / name)
    main(tmp_path)
    for name in written:
        assert (tmp_path / name).read_text(encoding="utf-8") == (FOLDER / name).read_text(encoding="utf-8"), name


def test_a_pair_by_hand() -> None:
    """sft and rft: 155, 150, 153 and 129, 132, 131 of 256 are right, so -10.2, -7.0 and -8.6 points by seed."""
    kept = json.loads((FOLDER / "kept.json").read_text(encoding="utf-8"))
    pair = next(each for each in pairs_of(kept) if each.name == "rft - sft")
    assert pair.by_seed == pytest.approx((-26 / 256, -18 / 256, -22 / 256))
    # Deviation 4/256, so 4.303 * 4 / 256 / sqrt(3) = 3.88 points; 5.5 over problems.
    assert pair.interval.low == pytest.approx(-0.0859 - (0.0388**2 + 0.0551**2) ** 0.5, abs=2e-4)
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "rft by 8.6 points (1.9 to 15.3)" in readme
    for row in (FOLDER / "table.md").read_text(encoding="utf-8").splitlines()[2:]:
        label, last, _, _, interval, df = row.strip("| ").split(" | ")[:6]
        assert re.search(rf"\| {label} \|.*\| {re.escape(last)} \| {interval} \| {df} \|", readme)
