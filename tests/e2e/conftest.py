"""Data of the end-to-end tests."""

from pathlib import Path

import pytest

from data_prep import countdown


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 + 32 easy countdown problems."""
    folder = tmp_path_factory.mktemp("data") / "countdown"
    countdown.prepare(folder, n_train=64, n_test=32, seed=0, max_number=30, operators="+-*")
    return folder
