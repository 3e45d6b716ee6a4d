"""Hint-length schedules: the published values, their limits, and that a draw depends on (seed, step, prompt) only."""

import math
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.algorithms import get_algorithm
from recipes.algorithms.base import At, Hint
from recipes.algorithms.hints.schedule import generator, sampling_seed
from recipes.algorithms.uft import probability


def length(algorithm: str, step: int, horizon: int, n: int, rng: Any) -> int:
    """Segments of the hint that an algorithm draws."""
    plan = get_algorithm(algorithm).rollout(At(step, n), SimpleNamespace(T_hint=horizon), rng)
    assert isinstance(plan, Hint)
    return plan.segments


steps = st.integers(1, 600)
horizons = st.integers(1, 500)
segments = st.integers(1, 5)
seeds = st.integers(0, 2**31)


@pytest.mark.parametrize(
    ("step", "expected"), [(1, 0.95), (50, 0.890), (100, 0.725), (150, 0.5), (200, 0.275), (250, 0.110), (300, 0.05)]
)
def test_probability_takes_the_values_of_the_published_schedule(step: int, expected: float) -> None:
    assert probability(step, 300) == pytest.approx(expected, abs=5e-4)


def test_the_paper_counts_steps_from_zero_and_means_the_same() -> None:
    for t in range(300):
        paper = 0.05 + 0.5 * 0.9 * (1 + math.cos((t + 1) / 300 * math.pi))
        assert probability(t + 1, 300) == pytest.approx(paper, abs=1e-12)
    assert probability(301, 300) == 0.0


@given(steps, horizons)
def test_probability_never_rises_and_stays_within_its_bounds(step: int, horizon: int) -> None:
    now, later = (probability(s, horizon) for s in (step, step + 1))
    assert 0.0 <= later <= now <= 0.95


@given(steps, horizons, segments, seeds)
def test_every_schedule_stays_between_none_and_all(step: int, horizon: int, n: int, seed: int) -> None:
    drawn = {name: length(name, step, horizon, n, np.random.default_rng(seed)) for name in ("uft", "r3", "stage")}
    assert all(0 <= found <= n for found in drawn.values())
    if step > horizon:
        assert drawn["uft"] == drawn["stage"] == 0


def test_binomial_mean_is_p_times_n() -> None:
    rng = np.random.default_rng(0)
    mean = np.mean([length("uft", 100, 300, 5, rng) for _ in range(4000)])
    assert mean == pytest.approx(5 * 0.725, abs=4 * math.sqrt(5 * 0.725 * 0.275 / 4000))


@pytest.mark.parametrize(
    ("step", "expected"), [(1, 5), (49, 5), (50, 4), (100, 3), (150, 2), (200, 1), (249, 1), (250, 0), (301, 0)]
)
def test_stages_shorten_the_hint_one_segment_at_a_time(step: int, expected: int) -> None:
    assert length("stage", step, 300, 5, np.random.default_rng(0)) == expected


@pytest.mark.parametrize("horizon", range(1, 8))
def test_stages_survive_a_horizon_shorter_than_the_number_of_stages(horizon: int) -> None:
    lengths = [length("stage", step, horizon, 5, np.random.default_rng(0)) for step in range(1, horizon + 3)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] == 0


def test_uniform_reaches_every_length_at_every_step() -> None:
    rng = np.random.default_rng(0)
    counts = np.bincount([length("r3", 500, 300, 5, rng) for _ in range(6000)], minlength=6)
    assert counts.min() > 850
    assert counts.max() < 1150


def test_a_draw_is_the_same_in_another_process() -> None:
    code = (
        "from recipes.algorithms.hints.schedule import *;"
        "print(generator(7, 11, 'a prompt').integers(10**9), sampling_seed(7, 11, 'a prompt', 3))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert other == [str(generator(7, 11, "a prompt").integers(10**9)), str(sampling_seed(7, 11, "a prompt", 3))]


@given(seeds, steps, st.text(max_size=20))
def test_rollouts_of_a_prompt_get_different_seeds_that_engines_accept(seed: int, step: int, key: str) -> None:
    drawn = [sampling_seed(seed, step, key, rollout) for rollout in range(8)]
    assert len(set(drawn)) == 8
    assert all(0 <= value < 2**31 for value in drawn)


def test_the_algorithms_use_the_schedules_their_files_name() -> None:
    rng = np.random.default_rng(0)
    assert np.mean([length("uft", 1, 300, 5, rng) for _ in range(2000)]) == pytest.approx(4.75, abs=0.1)
    assert np.mean([length("r3", 1, 300, 5, rng) for _ in range(2000)]) == pytest.approx(2.5, abs=0.2)
    assert length("stage", 1, 300, 5, rng) == 5
    assert get_algorithm("grpo") is get_algorithm("rft")
    assert [get_algorithm(name).uses_hints for name in ("rft", "sft", "sft_rft")] == [False] * 3
