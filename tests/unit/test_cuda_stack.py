"""`python -m tests cuda-stack`: what it reads of pytest and of engine configurations, and what it writes."""

from pathlib import Path

import pytest

from recipes.settings.profiles import PROFILES
from tests.gpu.cuda_stack import COMMAND, engine_lines, outcomes, summary
from tests.gpu.faked import CASES
from tests.gpu.kit import rehearse
from tests.gpu.status import STATUS, with_section

REPORT = """<testsuites><testsuite>
<testcase classname="tests.unit.test_a" name="test_b[1]"/>
<testcase classname="tests.unit.test_a" name="test_c"><failure message="no"/></testcase>
<testcase classname="tests.unit.test_a" name="test_d"><error message="no"/></testcase>
<testcase classname="tests.unit.test_a" name="test_e"><skipped message="no data"/></testcase>
</testsuite></testsuites>"""
PRINTED = "words of vLLM\nengine ok      1x80gb tiny\nengine FAILED  h100x2 Qwen2.5-0.5B: ValueError: a: b\n"


def test_failures_and_refusals_are_named_in_the_status(tmp_path: Path) -> None:
    (tmp_path / "tests.xml").write_text(REPORT)
    found, engines = outcomes(tmp_path / "tests.xml"), engine_lines(PRINTED)
    assert engines == [("1x80gb tiny", ""), ("h100x2 Qwen2.5-0.5B", "ValueError: a: b")]
    lines = summary(["3.12.1", "2.11.0", "0.24.0"], {"install": 8.0, "tests": 3.0}, found, engines)
    assert "1 passed, 2 failed, 1 skipped" in lines[0]
    assert "1 of 2 engine configurations" in lines[0]
    assert "* failed: `tests/unit/test_a.py::test_c`" in lines
    assert "* refused: `h100x2 Qwen2.5-0.5B`: ValueError: a: b" in lines
    assert "* skipped, 1: no data" in lines


def test_every_profile_with_gpus_is_configured_and_each_case_has_a_name_of_its_own() -> None:
    assert {case.profile for case in CASES} >= {name for name, each in PROFILES.items() if each.device == "cuda"}
    assert len({case.name for case in CASES}) == len(CASES)
    assert set(rehearse.ENGINES) <= {case.name for case in CASES}


@pytest.mark.parametrize("command", [COMMAND, rehearse.COMMAND])
def test_a_command_replaces_its_own_part_of_the_status(command: str) -> None:
    text = STATUS.read_text()
    once = with_section(text, command, ["a", "b"])
    assert "-->\na\nb\n<!--" in once
    assert with_section(once, command, ["a", "b"]) == once
    begin = f"<!-- written by {command} -->"
    assert once.partition(begin)[0] == text.partition(begin)[0]
    with pytest.raises(ValueError, match="put the lines"):
        with_section("nothing", command, [])
