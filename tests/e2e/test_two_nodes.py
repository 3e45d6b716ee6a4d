"""Two Ray nodes, here two raylets on one machine: verl places a trainer and an engine on each, and the hints are those
of one node."""

import contextlib
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from recipes.verl_plugin.environment import CPU, python_path
from recipes.watch.processes import end_processes
from tests.e2e.support import metrics, rollouts, run

pytestmark = [pytest.mark.e2e, pytest.mark.extended]

HOST = "127.0.0.1"
STEPS = 3
UFT = shlex.split(
    f"--algo uft --data countdown --T {STEPS} --T_hint {STEPS} --batch_size 8 --n_rollout 2 --val_size 8 --seed 5 "
    f"--test_freq {STEPS} --log_rollouts -1"
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster of two nodes with a device each."""
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    address, log = f"{HOST}:{port}", tmp_path_factory.mktemp("ray") / "log.txt"
    with tempfile.TemporaryDirectory(prefix="ray-") as folder, contextlib.ExitStack() as stack:
        head = ["--head", f"--port={port}", f"--temp-dir={folder}", "--include-dashboard=false"]
        for which in (head, [f"--address={address}"]):
            stack.enter_context(node(which, log))
        yield address


@contextlib.contextmanager
def node(which: list[str], log: Path) -> Iterator[None]:
    """A raylet and what belongs to it, until the block ends."""
    resources = [f"--node-ip-address={HOST}", "--num-cpus=32", "--num-gpus=1", f"--object-store-memory={256 * 1024**2}"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *which, *resources]
    env = {**{name: value for name, value in psutil.Process().environ().items() if name != "RAY_ADDRESS"}, **CPU}
    with log.open("ab") as file:
        started = subprocess.Popen(command, stdout=file, stderr=file, env={**env, **python_path()})
        try:
            before, deadline = log.read_text().count("Ray runtime started"), time.time() + 120
            while log.read_text().count("Ray runtime started") <= before:
                assert started.poll() is None, log.read_text()
                assert time.time() < deadline, log.read_text()
                time.sleep(0.5)
            yield
        finally:
            process = psutil.Process(started.pid)
            end_processes([process, *process.children(recursive=True)], 10)
            started.wait(30)


def test_hints_and_questions_are_those_of_one_node(cluster: str, tmp_path: Path) -> None:
    """Two devices of one node, and one device of each of two nodes."""
    run(tmp_path / "one", *UFT, "--n_gpu", "2")
    run(tmp_path / "two", *UFT, "--n_gpu", "1", "--nnodes", "2", env={"RAY_ADDRESS": cluster})
    for step in range(1, STEPS + 1):
        one, two = (
            sorted((row["key"], row["prompt"], row["hint"]) for row in rollouts(tmp_path / name, step))
            for name in ("one", "two")
        )
        assert one == two
        assert any(hint for _, _, hint in one)
    assert sorted(metrics(tmp_path / "two")) == sorted(metrics(tmp_path / "one"))
