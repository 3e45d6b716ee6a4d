"""Settings of all tests."""

import os

import pytest
from hypothesis import settings

from tests.times import Times, place

# Machines are shared and slow at times; what a property says does not depend on how long it takes.
settings.register_profile("unhurried", deadline=None, derandomize=True, print_blob=True)
# The same examples every time make a red test mean a change. To look for new ones: HYPOTHESIS_PROFILE=explore.
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "unhurried"))

_times = Times()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the order of tests/times.py; those of a file stay together."""
    items.sort(key=lambda item: place(item.nodeid.partition("::")[0]))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _times.add(report.nodeid, report.when, report.outcome, report.duration)


def pytest_sessionfinish(session: pytest.Session) -> None:
    # In a worker of pytest-xdist only its part is known.
    if hasattr(session.config, "workerinput"):
        return
    _times.write()
    if _times.over() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _times.over():
        terminalreporter.write_line(line, red=True)
