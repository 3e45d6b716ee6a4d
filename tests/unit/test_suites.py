"""What --eval's --data means: tasks, lists, suites."""

import pytest

from recipes.experiment import ExperimentError
from recipes.suites import SUITES, parts_of
from recipes.tasks import TASKS


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
    ("data", "message"), [("suite:maths", "did you mean 'math'"), ("math,math", "asked for twice")]
)
def test_mistakes_are_named(data: str, message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        parts_of(data)


def test_every_part_of_a_suite_is_a_task_or_the_harness() -> None:
    assert all(part.harness or part.data in TASKS for parts in SUITES.values() for part in parts)
