"""What tests of the repository share."""

from pathlib import Path

import pytest

from tests.helpers.installing import make_env


@pytest.fixture
def active_env(tmp_path: Path) -> dict[str, str]:
    """An active environment without a package."""
    return {"VIRTUAL_ENV": str(make_env(tmp_path / "env"))}
