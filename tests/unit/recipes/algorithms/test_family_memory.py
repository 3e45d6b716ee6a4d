"""What algorithms remember of problems, and what the next draws make of it. By hand."""

from typing import Any

import numpy as np
import pytest

from recipes.algorithms import get_algorithm
from recipes.algorithms.base import At, Bare, Hint, Json, Kept, Plan
from tests.helpers.groups import group, settings

SHARES = ["0", "0.2", "0.4", "0.6", "0.8", "1"]
ALL_WRONG, SOME_RIGHT = [0.0, 0.1, 0.0, 0.0], [0.0, 1.0, 0.1, 0.0]


def kept(algo: str, each: Any, past: Json = None, common: Json = None, **changed: Any) -> Kept:
    algorithm = get_algorithm(algo)
    return algorithm.remember(each, past, common, settings(algorithm, **changed))


def plan(algo: str, at: At, seed: int = 0, **changed: Any) -> Any:
    algorithm = get_algorithm(algo)
    return algorithm.rollout(at, settings(algorithm, **changed), np.random.default_rng(seed))


# --- ReLIFT --------------------------------------------------------------------------------------------------------


def relift(common: Json, *questions: tuple[str, list[float]], size: int = 3, **known: Any) -> tuple[Json, list[str]]:
    """The buffer after these questions, and what came due."""
    due: list[str] = []
    for key, scores in questions:
        _, common, learned = kept("relift", group(scores, key=key, **known), None, common, unsolved_buffer=size)
        due += learned
    return common, due


def test_unsolved_questions_wait_until_the_buffer_is_full_and_are_learned_at_once() -> None:
    common, due = relift(None, ("a", ALL_WRONG), ("b", SOME_RIGHT), ("c", ALL_WRONG))
    assert (common, due) == (["a", "c"], [])
    common, due = relift(common, ("d", ALL_WRONG), ("e", ALL_WRONG))
    assert (common, due) == (["e"], ["a", "c", "d"])


def test_a_question_waits_once_and_no_longer_once_it_is_solved() -> None:
    assert relift(["a", "c"], ("a", ALL_WRONG)) == (["c", "a"], [])
    assert relift(["a", "c"], ("a", SOME_RIGHT)) == (["c"], [])


def test_a_question_without_a_solution_or_a_verdict_does_not_wait() -> None:
    assert relift(["c"], ("a", ALL_WRONG), solution="") == (["c"], [])
    assert relift(["a"], ("a", ALL_WRONG), ("b", ALL_WRONG), ok=[False] * 4) == (["a"], [])


def test_the_buffer_holds_128_by_default_and_rewards_are_not_divided() -> None:
    algorithm = get_algorithm("relift")
    assert settings(algorithm).unsolved_buffer == 128
    found = algorithm.weigh(group(SOME_RIGHT), settings(algorithm)).advantage
    assert found is not None
    assert found[:, 0].tolist() == pytest.approx([-0.275, 0.725, -0.175, -0.275])


# --- AdaBack -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("past", "share", "scores", "expected"),
    [
        (None, 0.5, [1.0, 1.0, 0.0, 0.0], [0.0, 0.5]),
        (None, 0.5, [1.0, 0.1, 0.0, 0.0], [0.5, 1.0]),
        ([0.5, 1.0], 0.75, [1.0, 1.0, 1.0, 1.0], [0.0, 0.75]),
        ([0.0, 0.5], 0.25, [0.0] * 4, [0.25, 0.5]),
        ([0.25, 0.5], 0.375, [1.0] * 4, [0.0, 0.375]),
        ([0.0, 0.5], 0.0, [1.0] * 4, [0.0, 0.0]),
    ],
)
def test_the_interval_is_cut_at_the_share_by_success(
    past: Json, share: float, scores: list[float], expected: list[float]
) -> None:
    found, _, due = kept("adaback", group(scores, plans=[Hint(share=share)] * 4), past)
    assert found == expected
    assert not due


def test_all_problems_bounds_have_a_moving_average_that_new_problems_start_from() -> None:
    _, common, _ = kept("adaback", group([1.0] * 4, plans=[Hint(share=0.5)] * 4))
    assert common == pytest.approx([0.0, 0.975])
    _, common, _ = kept("adaback", group([0.0] * 4, plans=[Hint(share=0.5)] * 4), [0.0, 1.0], common)
    assert common == pytest.approx([0.025, 0.97625])
    shares = [plan("adaback", At(9, 5, None, [0.2, 0.3]), seed).share for seed in range(200)]
    assert 0.2 <= min(shares) < 0.205
    assert 0.295 < max(shares) <= 0.3
    assert plan("adaback", At(9, 5, [0.7, 0.7], [0.2, 0.3])) == Hint(share=0.7)


def test_without_a_solution_or_a_verdict_nothing_is_searched() -> None:
    assert kept("adaback", group([0.0] * 4, segments=0), [0.1, 0.2], [0.3, 0.4]) == ([0.1, 0.2], [0.3, 0.4], ())
    failed = group([0.0] * 4, ok=[False] * 4, plans=[Hint(share=0.5)] * 4)
    assert kept("adaback", failed, None, None) == (None, None, ())


# --- what is told of a memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algo", "past", "common", "expected"),
    [
        ("relift", {}, None, {"unsolved": 0}),
        ("relift", {}, ["a", "c"], {"unsolved": 2}),
        ("adaback", {}, None, {}),
        # Means of (lo + hi) / 2: .25 and .6.
        ("adaback", {"a": [0.0, 0.5], "b": [0.4, 0.8]}, [0.1, 0.9], {"share": 0.425}),
        ("pope", {}, None, {"hard": 0, "quarters": 0}),
        ("pope", {"a": 1, "b": 4}, None, {"hard": 2, "quarters": 2.5}),
        (
            "uft_adaptive",
            {},
            [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
            {f"success/{name}": value for name, value in zip(SHARES, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], strict=True)},
        ),
        ("uft_adaptive", {}, None, {f"success/{name}": 0.5 for name in SHARES}),
    ],
)
def test_memory_in_numbers(algo: str, past: dict[str, Json], common: Json, expected: dict[str, float]) -> None:
    algorithm = get_algorithm(algo)
    assert algorithm.memory_metrics(past, common, settings(algorithm)) == pytest.approx(expected)


# --- QuestA and POPE -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "expected"), [(1, 0.5), (100, 0.5), (101, 0.25), (200, 0.25), (201, None), (999, None)]
)
def test_questa_gives_half_then_a_quarter_then_nothing(step: int, expected: float | None) -> None:
    found = plan("questa", At(step, 5), T_hint=200)
    assert found == (Bare() if expected is None else Hint(share=expected, where="prompt"))
    algorithm = get_algorithm("questa")
    assert algorithm.metrics(step, settings(algorithm, T_hint=200)) == {"share": expected or 0}


@pytest.mark.parametrize(
    ("past", "start", "scores", "expected"),
    [
        (None, Bare(), SOME_RIGHT, None),
        (None, Bare(), ALL_WRONG, 1),
        (1, Hint(share=0.0625, where="prompt"), ALL_WRONG, 2),
        (2, Hint(share=0.125, where="prompt"), SOME_RIGHT, 2),
        (4, Hint(share=0.25, where="prompt"), ALL_WRONG, 4),
        (3, Bare(), ALL_WRONG, 3),
        (3, Bare(), SOME_RIGHT, None),
    ],
)
def test_pope_lengthens_the_prefix_of_a_hard_problem_until_one_rollout_is_right(
    past: Json, start: Plan, scores: list[float], expected: Json
) -> None:
    assert kept("pope", group(scores, plans=[start] * 4), past) == (expected, None, ())


def test_a_prefix_of_a_short_solution_that_holds_no_text_is_a_bare_draw_to_pope() -> None:
    start = [Hint(share=0.0625, where="prompt")] * 4
    assert kept("pope", group([0, 1, 0, 0], plans=start), 1) == (1, None, ()), "given, it helps"
    assert kept("pope", group([0, 1, 0, 0], plans=start, hinted=False), 1) == (None, None, ()), (
        "the problem is not hard"
    )
    assert kept("pope", group([0.0] * 4, plans=start, hinted=False), 1) == (1, None, ()), "and no longer one is due"


def test_pope_asks_hard_problems_half_of_the_time_with_their_prefix_in_the_question() -> None:
    assert {plan("pope", At(9, 5, None), seed) for seed in range(50)} == {Bare()}
    drawn = [plan("pope", At(9, 5, 3), seed) for seed in range(400)]
    hinted = [each for each in drawn if isinstance(each, Hint)]
    assert 160 < len(hinted) < 240
    assert {(each.share, each.where) for each in hinted} == {(0.1875, "prompt")}
    assert "{question}" in hinted[0].wrap
    assert "{hint}" in hinted[0].wrap


def test_pope_without_a_verdict_knows_as_much_as_before() -> None:
    assert kept("pope", group([0.0] * 4, ok=[False] * 4), 2) == (2, None, ())


@pytest.mark.parametrize("algo", ["questa", "pope"])
def test_hints_in_the_question_are_declared(algo: str) -> None:
    assert get_algorithm(algo).hints_in_prompt


@pytest.mark.parametrize(("algo", "says"), [("pope", "0% of the solution   100% of"), ("adaback", "of the solution")])
def test_a_dry_run_does_not_pretend_to_know_hints_that_follow_success(algo: str, says: str) -> None:
    from recipes.flags.resolve import build_experiment
    from recipes.run.plan import hint_schedule
    from recipes.settings.profiles import PROFILES

    first, *steps = hint_schedule(build_experiment({"algo": algo}, PROFILES["cpu"])).splitlines()
    assert "depend on each problem's past results" in first
    assert len(steps) == 1
    assert says in steps[0]
