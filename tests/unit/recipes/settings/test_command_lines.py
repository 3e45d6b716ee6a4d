"""Recorded command lines still mean what they meant: the same resolved values, or the same refusal."""

from typing import Any

import pytest

from tests.helpers.command_lines import base, meaning, recorded

BASE, LINES = recorded()


def test_there_are_two_hundred_of_them() -> None:
    assert len(LINES) >= 200


def test_the_values_that_lines_differ_from_are_those_of_a_plain_run_on_a_cpu() -> None:
    assert base() == BASE


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_means_what_it_meant(line: str) -> None:
    expected: Any = LINES[line]
    assert meaning(line, BASE) == expected
