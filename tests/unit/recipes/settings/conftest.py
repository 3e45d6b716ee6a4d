"""What tests of settings share."""

from collections.abc import Callable

import pytest

from tests import ROOT
from tests.helpers.refusals import refusal


@pytest.fixture(params=[(), ("--dry_run",)], ids=["start", "dry run"])
def refused(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], str]:
    """The line that refuses a command on the CPU, at a start and under --dry_run."""
    monkeypatch.chdir(ROOT)
    return lambda command: refusal(capsys, *command.split(), "--profile", "cpu", *request.param)
