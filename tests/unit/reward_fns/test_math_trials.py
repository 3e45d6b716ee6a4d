"""The labelled and the random trials of the mathematics reward, judged as a run judges them."""

from __future__ import annotations

import random
from collections import Counter

from reward_fns.trials.fuzz import fuzz
from reward_fns.trials.fuzz_math import sample
from reward_fns.trials.selftest import labelled, selftest


def test_the_labelled_answers_are_judged_as_a_person_would() -> None:
    report = selftest("math")
    assert report.trials >= 240
    assert report.failures == ()


def test_the_labels_cover_right_wrong_and_unreadable_answers() -> None:
    trials = labelled("math")
    counts = Counter(trial.label for trial in trials)
    assert min(counts["correct"], counts["wrong"]) >= 100
    assert counts["unreadable"] >= 15
    assert len({trial.response + str(trial.ground_truth) for trial in trials}) == len(trials)


def test_random_and_hostile_answers_are_never_misjudged() -> None:
    found = fuzz("math", 1500, seed=11)
    assert found.failures == ()
    assert found.slow == ()


def test_the_fuzz_draws_every_kind_and_the_same_again() -> None:
    def drawn() -> list[object]:
        draw = random.Random(3)
        return [sample(draw) for _ in range(400)]

    first = drawn()
    assert first == drawn()
    assert {trial.label for trial in first} == {"correct", "wrong", "not correct"}  # type: ignore[attr-defined]
