"""What several end-to-end tests share: data, and one UFT run from beginning to end."""

from pathlib import Path

import pytest

from tests.e2e.support import UFT, run, small_countdown


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_countdown(tmp_path_factory.mktemp("data") / "countdown")


@pytest.fixture(scope="session")
def uft_run(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    """Six steps of UFT without an interruption."""
    out = tmp_path_factory.mktemp("uft") / "run"
    run(out, *UFT, "--data", str(small_data))
    return out
