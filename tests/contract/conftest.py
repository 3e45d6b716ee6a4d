"""What contract tests share."""

from functools import cache
from typing import Any

import pytest


@pytest.fixture
def verls_files_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra takes half a second to read verl's files, and finds the same every time."""
    from recipes.verl_plugin import compose

    monkeypatch.setattr(compose, "compose", _composed())


@cache
def _composed() -> Any:
    from hydra import compose

    return cache(compose)
