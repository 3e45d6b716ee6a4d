"""The synthetic alignment set: scores are true by the countdown reward, the best policy is known, nothing is shared."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import pytest

from data_prep.countdown.generate import Key, Space, canonical_key, generate
from data_prep.preference.schema import Row, read_rows
from data_prep.preference.toy import evaluated_keys, true_score, write_toy
from data_prep.preference.views import mixed, pairs
from recipes.settings.profiles import PROFILES
from recipes.settings.tasks import TASKS
from reward_fns import compute_score

N_TRAIN, N_TEST = 48, 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("toy")
    write_toy(made, n_train=N_TRAIN, n_test=N_TEST, seed=3)
    return made


@pytest.fixture(scope="module")
def files(folder: Path) -> dict[str, list[Row]]:
    return {split: read_rows(folder / f"{split}.parquet") for split in ("train", "test")}


def problem(row: Row) -> tuple[list[int], int]:
    """Numbers and target, read off the prompt as a model has to."""
    numbers, target = re.search(
        r"numbers \[([\d, ]+)\], create an equation that equals (\d+)", row["prompt"][0]["content"]
    ).groups()  # type: ignore[union-attr]
    return [int(number) for number in numbers.split(",")], int(target)


def keys(rows: list[Row]) -> set[Key]:
    return {canonical_key(*problem(row)) for row in rows}


def reward(row: Row) -> float:
    numbers, target = problem(row)
    return compute_score("countdown", row["completion"], {"numbers": numbers, "target": target})["score"]


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("x </think>\n<answer> 44 + (19 + 35) </answer>", 1.0),
        ("x </think>\n<answer> 44 + 19 - 35 </answer>", 0.6 / (1 + 70 / 10)),
        ("x </think>\n<answer> 44 * 19 / 35 </answer>", 0.6 / float(1 + abs(Fraction(44 * 19, 35) - 98) / 10)),
        ("x </think>\n<answer> 49 + 49 </answer>", 0.0),
        ("x </think>\n<answer> 44 / (19 - 19) + 35 </answer>", 0.0),
        ("x </think>\n<answer> 44 + </answer>", 0.0),
        ("44 + 19 + 35", 0.0),
    ],
)
def test_the_true_score_is_one_or_falls_with_the_distance(answer: str, score: float) -> None:
    assert true_score(answer, [44, 19, 35], 98) == pytest.approx(score)


def test_every_score_is_what_the_reward_says(files: dict[str, list[Row]]) -> None:
    judged = [row for rows in files.values() for row in rows if row["feedback"] == "score"]
    by_reward = {value: [row["score"] for row in judged if reward(row) == value] for value in (0.0, 0.1, 1.0)}
    assert set(by_reward[1.0]) == {1.0}
    assert set(by_reward[0.0]) == {0.0}
    assert all(0.0 < score < 0.7 for score in by_reward[0.1])
    assert sum(map(len, by_reward.values())) == len(judged)
    assert 2 <= len(by_reward[0.0]) <= len(judged) / 8
    assert len(set(by_reward[0.1])) > 10


def test_every_instruction_is_a_right_solution_of_four_numbers(files: dict[str, list[Row]]) -> None:
    for rows in files.values():
        taught = [row for row in rows if row["feedback"] == "instruction"]
        assert len(taught) == len(rows) - len(taught)
        assert {reward(row) for row in taught} == {1.0}
        assert {len(problem(row)[0]) for row in taught} == {4}
        assert {len(problem(row)[0]) for row in rows if row["feedback"] == "score"} == {3}


def test_the_stated_share_has_a_right_answer_among_different_ones(tmp_path: Path) -> None:
    write_toy(tmp_path, n_train=10, n_test=3, seed=0, n_answers=3, solved_share=1.0)
    for split in ("train", "test"):
        judged = [row for row in read_rows(tmp_path / f"{split}.parquet") if row["feedback"] == "score"]
        for group in {row["group"] for row in judged}:
            members = [row for row in judged if row["group"] == group]
            assert len({row["completion"] for row in members}) == len(members) in (3, 4)
            assert max(row["score"] for row in members) == 1.0
        chosen = pairs(judged)
        assert {pair["chosen_score"] for pair in chosen} <= {1.0}


def test_half_the_problems_are_solved_when_half_are_asked_for(tmp_path: Path) -> None:
    sizes = {}
    for share in (0.0, 0.5):
        write_toy(tmp_path / str(share), n_train=10, n_test=2, seed=5, n_answers=2, solved_share=share)
        sizes[share] = sum(row["feedback"] == "score" for row in read_rows(tmp_path / str(share) / "train.parquet"))
    assert sizes[0.0] == 20
    # a solution that is among the sampled answers already is not repeated
    assert 22 <= sizes[0.5] <= 25


def test_nothing_is_shared_between_train_test_and_the_evaluation_data(files: dict[str, list[Row]]) -> None:
    train, test = (keys(files[split]) for split in ("train", "test"))
    assert not train & test
    assert TASKS["countdown_preference"].evaluated_on == "countdown"
    for profile in PROFILES.values():
        options = profile.data_options["countdown"]
        space = Space(
            sizes=tuple(options.get("sizes", (3, 4))),
            max_number=options.get("max_number", 99),
            operators=options.get("operators", "+-*/"),
        )
        evaluated = {found.key for found in generate(min(options["n_test"], 64), 0, "test", space)}
        assert evaluated <= evaluated_keys()
        assert options["n_test"] <= 1024
    assert not (train | test) & evaluated_keys()


def test_further_problems_can_be_kept_out(files: dict[str, list[Row]], tmp_path: Path) -> None:
    unwanted = keys(files["test"])
    write_toy(tmp_path, n_train=4, n_test=N_TEST, seed=3, exclude=unwanted)
    assert not keys(read_rows(tmp_path / "test.parquet")) & unwanted


def test_it_depends_on_the_seed_alone_and_more_training_data_leave_the_test_as_it_is(
    files: dict[str, list[Row]], tmp_path: Path
) -> None:
    write_toy(tmp_path / "same", n_train=N_TRAIN, n_test=N_TEST, seed=3)
    assert read_rows(tmp_path / "same" / "train.parquet") == files["train"]
    write_toy(tmp_path / "less", n_train=4, n_test=N_TEST, seed=3)
    assert read_rows(tmp_path / "less" / "test.parquet") == files["test"]
    write_toy(tmp_path / "other", n_train=4, n_test=N_TEST, seed=4)
    assert not keys(read_rows(tmp_path / "other" / "test.parquet")) <= keys(files["test"])


def test_there_are_instructions_enough_for_one_beside_each_answer(files: dict[str, list[Row]]) -> None:
    rows = files["train"]
    assert len(mixed(rows, rows, 1.0, seed=0)) == len(rows)


@pytest.mark.parametrize("wrong", [{"n_train": 0}, {"n_answers": 1}, {"n_answers": 9}, {"solved_share": 1.5}])
def test_senseless_arguments_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1, at least 1, 2 to 8, and 0 to 1"):
        write_toy(tmp_path, **{"n_train": 2, "n_test": 2, **wrong})  # type: ignore[arg-type]
