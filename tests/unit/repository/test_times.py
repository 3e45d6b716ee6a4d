"""Time budgets of test files: a file over its budget fails a session in which every test passed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT, times


def test_the_seconds_of_a_file_are_those_of_all_its_phases() -> None:
    counted = times.Times()
    for when, seconds in (("setup", 40.0), ("call", 139.0), ("teardown", 0.5)):
        counted.add("tests/unit/test_a.py::test_b[1]", when, "passed", seconds)
    assert counted.over() == []
    counted.add("tests/unit/test_a.py::test_c", "call", "failed", 1.0)
    assert counted.over() == ["tests/unit/test_a.py: 180 s, over its budget of 180 s (tests/times.py)"]
    assert counted.outcomes["tests/unit/test_a.py"] == {"passed": 1, "failed": 1}


def test_every_file_with_a_budget_of_its_own_exists() -> None:
    assert [name for name in (*times.LONGER, *times.SLOW, *times.FIRST) if not (ROOT / name).exists()] == []


def test_every_test_file_is_in_a_part_of_the_tests() -> None:
    found = {file.relative_to(ROOT).as_posix() for file in (ROOT / "tests").rglob("test_*.py")}
    assert {file for file in found if not file.startswith(("tests/unit/", "tests/e2e/", *times.SLOW))} == set()


def test_a_file_over_its_budget_fails_the_session(tmp_path: Path) -> None:
    (tmp_path / "test_slow.py").write_text("def test_it():\n    pass\n")
    (tmp_path / "conftest.py").write_text(
        "from tests import conftest, times\nfrom tests.conftest import *\ntimes.BUDGETS = {'': 0.0}\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(tmp_path),
        "--rootdir",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert "over its budget" in done.stdout


def test_the_table_holds_every_file_and_its_outcomes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "TABLE", tmp_path / "tests.md")
    file = tmp_path / "times.json"
    monkeypatch.setenv(times.TIMES, str(file))
    for name, seconds in (("tests/unit/test_a.py", 3.0), ("tests/e2e/test_b.py", 100.0), ("tests/e2e/test_b.py", 20.0)):
        counted = times.Times()
        counted.add(f"{name}::test", "call", "passed", seconds)
        counted.write()
    assert json.loads(file.read_text())["tests/e2e/test_b.py"] == {"seconds": 120.0, "passed": 2}
    times.write_table(file, 90.0)
    text = (tmp_path / "tests.md").read_text()
    assert "3 passed, 0 failed, 0 skipped in 2 minutes" in text
    assert "| e2e/test_b.py | 120 | 900 | 2 | 0 | 0 |" in text
