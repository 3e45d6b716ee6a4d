"""What several end-to-end tests share: data, and one UFT run from beginning to end."""

from pathlib import Path

import pytest

from data_prep import countdown
from tests.e2e.support import UFT, run


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 + 32 easy countdown problems."""
    folder = tmp_path_factory.mktemp("data") / "countdown"
    countdown.prepare(folder, n_train=64, n_test=32, seed=0, max_number=30, operators="+-*")
    return folder


@pytest.fixture(scope="session")
def uft_run(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    """Six steps of UFT without an interruption."""
    out = tmp_path_factory.mktemp("uft") / "run"
    run(out, *UFT, "--data", str(small_data))
    return out
