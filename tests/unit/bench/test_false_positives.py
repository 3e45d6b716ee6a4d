"""The simulated rates behind what reports say of few seeds: made by the statistics in use, and quoted as they are."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from bench.false_positives import METHODS, MISSED, OUT, SETTINGS, Setting, rates, simulate, table
from eval.reporting.simulated import ACCURACY, OVER_BOTH, OVER_SEEDS, Rates
from tests import ROOT

REPORTED = next(iter(METHODS))


def committed() -> list[dict[str, float]]:
    found: list[dict[str, float]] = json.loads((ROOT / OUT / "rates.json").read_text(encoding="utf-8"))["rates"]
    return found


@pytest.mark.parametrize(
    ("quoted", "name"), [(OVER_BOTH, REPORTED), (OVER_SEEDS, "t over seeds alone"), (ACCURACY, MISSED)]
)
def test_reports_quote_the_committed_rates(quoted: Rates, name: str) -> None:
    assert set(quoted) == {3, 5}
    for seeds, (low, high) in quoted.items():
        found = [100 * each[name] for each in committed() if each["seeds"] == seeds]
        assert (low, high) == (pytest.approx(min(found), abs=0.051), pytest.approx(max(found), abs=0.051))


def test_every_setting_is_committed_and_the_table_shows_it() -> None:
    names = list(asdict(SETTINGS[0]))
    assert [{name: each[name] for name in names} for each in committed()] == [asdict(each) for each in SETTINGS]
    assert {each.seeds for each in SETTINGS} == {3, 5}
    assert (ROOT / OUT / "table.md").read_text(encoding="utf-8") == table(committed()) + "\n"


def test_a_setting_is_simulated_as_it_says() -> None:
    rng = np.random.default_rng(0)
    wanted = Setting(seeds=4, problems=2000, accuracy=0.3, luck=0.05, favours=True)
    runs = [simulate(rng, wanted) for _ in range(60)]
    of_a, of_b = (np.array([pair[which].mean(1) for pair in runs]) for which in (0, 1))
    assert runs[0][0].shape == (4, 2000)
    assert of_a.mean() == pytest.approx(0.3, abs=0.015)
    assert of_b.mean() == pytest.approx(0.3, abs=0.015)
    # Of runs on the same problems, less the noise of 2,000 answers.
    assert of_a.std(axis=1, ddof=1).mean() == pytest.approx(0.05 * 0.921, abs=0.008)


def test_few_seeds_mislead_the_bootstrap_and_not_the_interval_of_reports() -> None:
    """Runs that differ by 8 points: the methods that take seeds for granted call most equal algorithms different."""
    found = rates(Setting(seeds=3, problems=64, accuracy=0.5, luck=0.08, favours=False), 120, seed=1)
    assert found[REPORTED] < 0.12
    assert found["bootstrap of seeds"] > 0.12
    assert found["sign flips of problems"] > 0.2
    assert found[MISSED] < 0.12
    assert rates(SETTINGS[0], 3, 0) == rates(SETTINGS[0], 3, 0)
