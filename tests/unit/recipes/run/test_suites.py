"""What --eval's --data means: tasks, lists, suites; what is skipped, and where local copies lie."""

from pathlib import Path

import pytest

from eval.harness_tasks import SUITES as HARNESS_SUITES
from recipes.commands.evaluate import copy_of
from recipes.common.errors import ExperimentError
from recipes.run.suites import SUITES, parts_of
from recipes.settings.tasks import TASKS


def test_a_task_is_one_part_and_a_list_one_part_each() -> None:
    assert [part.data for part in parts_of("math")] == ["math"]
    assert [part.data for part in parts_of("countdown,kk_logic")] == ["countdown", "kk_logic"]


def test_a_suite_may_be_named_with_or_without_its_prefix() -> None:
    assert parts_of("reasoning") == parts_of("suite:reasoning") == SUITES["reasoning"]
    assert parts_of("suite:math")[0].data == "others"
    assert "math500" in parts_of("suite:math")[0].sources


def test_a_file_gives_its_folder_its_own_name() -> None:
    assert parts_of("../a/b.jsonl")[0].name == "b.jsonl"


@pytest.mark.parametrize(
    ("data", "message"), [("suite:maths", "did you mean 'math'"), ("math,math", "math is given twice")]
)
def test_mistakes_are_named(data: str, message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        parts_of(data)


def test_every_part_of_a_suite_is_a_task_or_the_harness() -> None:
    assert all(part.harness or part.data in TASKS for parts in SUITES.values() for part in parts)


def test_benchmarks_of_the_harness_are_left_out_of_the_suites_that_have_them() -> None:
    parts = parts_of("countdown,leaderboard_new,leaderboard_old", skip="mmlu,gpqa,ifeval")
    assert [part.skip for part in parts] == [(), ("gpqa", "ifeval"), ("mmlu",)]


@pytest.mark.parametrize(
    ("data", "skip", "message"),
    [
        ("leaderboard_new", "mmlu", "--skip mmlu: not part of --data, which has bbh, gpqa"),
        ("countdown", "gpqa", "which has no suite of lm-evaluation-harness"),
    ],
)
def test_only_what_is_there_can_be_left_out(data: str, skip: str, message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        parts_of(data, skip)


def test_the_suites_of_the_harness_are_those_it_has() -> None:
    assert {name for name, parts in SUITES.items() if parts[0].harness} == HARNESS_SUITES.keys()


def test_several_local_copies_lie_side_by_side_and_one_lies_alone(tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    math, vnhsge = parts_of("suite:math,vnhsge")
    assert copy_of(math, str(tmp_path)) == str(tmp_path / "others")
    assert copy_of(vnhsge, str(tmp_path)) == str(tmp_path)
    assert copy_of(vnhsge, None) is None
