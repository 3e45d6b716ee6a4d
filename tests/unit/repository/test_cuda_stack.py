"""`python -m tests cuda-stack`: what it reads of pytest and of engine configurations, and what it writes."""

from pathlib import Path

import pytest

from recipes.settings.profiles import PROFILES
from tests.gpu.cuda_stack import COMMAND, PARTS, outcomes, told_engines, told_tests
from tests.gpu.faked import CASES
from tests.gpu.kit import rehearse
from tests.gpu.status import STATUS, with_section

REPORT = """<testsuites><testsuite>
<testcase classname="tests.unit.test_a" name="test_b[1]"/>
<testcase classname="tests.unit.test_a" name="test_c"><failure message="no"/></testcase>
<testcase classname="tests.unit.test_a" name="test_d"><error message="no"/></testcase>
<testcase classname="tests.unit.test_a" name="test_e"><skipped message="the data is not at /x/y"/></testcase>
</testsuite></testsuites>"""
PRINTED = "words of vLLM\nengine ok      1x80gb tiny\nengine FAILED  h100x2 Qwen2.5-0.5B: ValueError: a: b\n"


def test_failures_and_refusals_are_named_in_the_status(tmp_path: Path) -> None:
    (tmp_path / "tests.xml").write_text(REPORT)
    assert told_tests(outcomes(tmp_path / "tests.xml")) == [
        "1 passed, 2 failed, 1 skipped.",
        "* failed: `tests/unit/test_a.py::test_c`",
        "* failed: `tests/unit/test_a.py::test_d`",
        "* skipped, 1: the data is not here",
    ]
    assert told_engines(PRINTED) == [
        "1 of 2 configurations are as their profile says: 1x80gb tiny.",
        "* FAILED  h100x2 Qwen2.5-0.5B: ValueError: a: b",
    ]


def test_every_profile_with_gpus_is_configured_and_each_case_has_a_name_of_its_own() -> None:
    assert {case.profile for case in CASES} >= {name for name, each in PROFILES.items() if each.device == "cuda"}
    assert len({case.name for case in CASES}) == len(CASES)
    assert set(rehearse.ENGINES) <= {case.name for case in CASES}


@pytest.mark.parametrize("command", [*(f"{COMMAND}: {name}" for name in PARTS), rehearse.COMMAND])
def test_a_command_replaces_its_own_part_of_the_status(command: str) -> None:
    text = STATUS.read_text()
    once = with_section(text, command, ["a", "b"])
    assert "-->\na\nb\n<!--" in once
    assert with_section(once, command, ["a", "b"]) == once
    begin = f"<!-- written by {command} -->"
    assert once.partition(begin)[0] == text.partition(begin)[0]
    with pytest.raises(ValueError, match="put the lines"):
        with_section("nothing", command, [])
