"""DAPO's soft overlong punishment, equation 13, and who is right under it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recipes.algorithms import get_algorithm
from recipes.algorithms.adaback import remember
from recipes.algorithms.losses.group import right, share_right
from recipes.algorithms.losses.overlong import overlong
from recipes.settings.applies import by_score
from tests.helpers.groups import group, settings

# The paper's lengths: 16,384 tokens expected, 4,096 more as a buffer.
LONGEST, BUFFER = 20480, 4096


@pytest.mark.parametrize(
    ("generated", "expected"), [(0, 0), (16384, 0), (17408, -0.25), (18432, -0.5), (20480, -1), (30000, -1)]
)
def test_golden_values_of_the_papers_lengths(generated: int, expected: float) -> None:
    assert overlong(generated, longest=LONGEST, buffer=BUFFER) == expected


@given(st.integers(1, 500), st.integers(1, 500), st.integers(0, 600))
def test_it_falls_from_0_to_minus_1_and_never_rises(one: int, other: int, generated: int) -> None:
    buffer, longest = sorted((one, other))
    found, longer = (overlong(length, longest=longest, buffer=buffer) for length in (generated, generated + 1))
    assert -1 <= longer <= found <= 0
    assert (found == 0) == (generated <= longest - buffer)
    assert (found == -1) == (generated >= longest)


def test_a_right_answer_that_is_too_long_stays_right() -> None:
    penalised = group([0.2, 0.1, 0.0], unshaped=torch.tensor([1.0, 0.1, 0.7]), segments=2)
    assert right(penalised).tolist() == [True, False, True]
    assert share_right(penalised) == pytest.approx(2 / 3)
    assert right(group([0.2, 0.1, 0.7])).tolist() == [False, False, True]
    adaback = get_algorithm("adaback")
    assert remember(penalised, [0.2, 0.8], None, settings(adaback))[0][0] == 0.0, "a success, by its verdicts"
    assert remember(group([0.2, 0.1, 0.0]), [0.2, 0.8], None, settings(adaback))[0] != [0.0, 0.0]


@pytest.mark.parametrize(
    ("algo", "expected"),
    [("uft", True), ("hpt", True), ("rlsd", True), ("ppo", True), ("max_rl", False), ("sdpo", False), ("opsd", False)],
)
def test_it_is_a_setting_of_algorithms_whose_advantages_are_of_scores(algo: str, expected: bool) -> None:
    algorithm = get_algorithm(algo)
    assert by_score(algorithm, algorithm.stages) == expected
