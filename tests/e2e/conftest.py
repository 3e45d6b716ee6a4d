"""What several end-to-end tests share: data, and one UFT run from beginning to end."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from recipes.run.launch import DONE
from recipes.verl_plugin.environment import CPU, python_path
from recipes.verl_plugin.serve import serving
from recipes.verl_plugin.serve_client import SERVE
from recipes.verl_plugin.warm_client import shared_server
from tests.e2e.support import UFT, run, small_countdown


@pytest.fixture(scope="session", autouse=True)
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One server of processes that have imported torch and vLLM, for all runs of a test process."""
    # Not pytest's folder, whose name is too long for a socket.
    folder = Path(tempfile.mkdtemp(prefix="uft-", dir="/tmp"))
    with shared_server(folder, {**CPU, **python_path()}):
        yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def serve(warm: None) -> Iterator[dict[str, str]]:
    """What a run needs in its environment to be made by the server that the runs of a test process share.

    Not for tests of starts, kills and resumes, nor for runs that several tests look at.
    """
    folder = Path(tempfile.mkdtemp(prefix="uft-", dir="/tmp"))
    with serving(folder) as path:
        yield {SERVE: str(path)}
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_countdown(tmp_path_factory.mktemp("data") / "countdown")


@pytest.fixture(scope="session")
def uft_run(tmp_path_factory: pytest.TempPathFactory, small_data: Path, worker_id: str) -> Path:
    """Six steps of UFT without an interruption, made by the first test process that wants it."""
    mine = tmp_path_factory.getbasetemp()
    out = (mine if worker_id == "master" else mine.parent) / "uft"
    with FileLock(f"{out}.lock"):
        if not (out / DONE).exists():
            run(out, *UFT, "--data", str(small_data))
    return out
