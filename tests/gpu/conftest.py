"""Tests on a GPU: skipped, with the reason, on a machine without one.

UFT_TEST_PROFILE=cpu rehearses them on the CPU profile, which shows that the tests are right, not that a GPU is.
"""

import os
from pathlib import Path

import pytest

from recipes.common.machine import gpu_count
from tests.e2e.support import small_countdown
from tests.gpu.support import ON_CPU, PROFILE, UFT, run

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = None if ON_CPU or gpu_count() else "needs an NVIDIA GPU (nvidia-smi lists none)"
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if missing:
                item.add_marker(pytest.mark.skip(reason=missing))


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_countdown(tmp_path_factory.mktemp("data") / "countdown")


@pytest.fixture(scope="session")
def uft_run(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    """Six steps of UFT from beginning to end."""
    out = tmp_path_factory.mktemp("uft") / "run"
    print(f"profile {PROFILE}, CUDA_VISIBLE_DEVICES {os.environ.get('CUDA_VISIBLE_DEVICES')}")
    run(out, *UFT, "--data", str(small_data))
    return out
