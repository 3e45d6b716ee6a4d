"""The notebook of examples/: what it starts is accepted. tests/e2e/test_notebook.py runs it."""

import subprocess
from typing import Any

import pytest

from tests.helpers.front_checks import front_door
from tests.helpers.notebook import RESULTS, cells, source


def test_every_run_of_the_notebook_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def dry(command: list[str], **_: Any) -> None:
        flags = [*command[2:], *(() if "--dry_run" in command else ("--dry_run",))]
        asked.append(flags)
        done = front_door(*flags)
        assert done.returncode == 0, done.stderr

    monkeypatch.setattr(subprocess, "run", dry)
    started = [cell for cell in cells() if RESULTS not in cell["metadata"].get("tags", [])]
    exec(compile(source(started), "alignment.ipynb", "exec"), {})
    assert ["--pipeline" in flags for flags in asked] == [False, True, False]
    assert "una" in asked[-1]


def test_a_notebook_is_kept_without_what_a_run_printed() -> None:
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells())
    compile(source(cells()), "alignment.ipynb", "exec")
