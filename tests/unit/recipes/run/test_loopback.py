"""On one machine nothing of a run listens for others, and Ray's token is its user's alone."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from recipes.common.loopback import TOKEN_PATH, alone, side_by_side
from recipes.common.run_dir import RunDir
from recipes.run import run_stage
from tests import ROOT
from tests.helpers.front_checks import experiment, small_folder

STORE = """
import psutil, recipes.common.loopback
import torch.distributed as dist
dist.init_process_group("gloo")
dist.new_group(backend="gloo")
listening = [each.laddr.ip for each in psutil.Process().net_connections("inet") if each.status == "LISTEN"]
print(sorted(set(listening)))
"""


def test_rays_token_is_new_for_every_run_and_its_users_alone(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    paths = [Path(alone(tmp_path / name)[TOKEN_PATH]) for name in "ab"]
    tokens = [path.read_text() for path in paths]
    assert len(set(tokens)) == 2
    assert all(len(token) == 64 for token in tokens)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in paths)
    assert not any(token in str(alone(tmp_path / "a")) for token in tokens)


@pytest.mark.parametrize("address", ["", "10.0.0.1:6379"])
def test_a_run_has_a_ray_of_its_own_unless_a_cluster_is_named(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, str] = {}
    monkeypatch.setattr(run_stage, "supervise", lambda _, env, *__, **___: seen.update(env))
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "eth7")
    stage = run_stage.Stage("a stage", RunDir(tmp_path / "run"), [], 1, "", lambda _: None)
    run_stage.run_stage(experiment(small_folder(tmp_path / "countdown")), stage, 1)
    assert ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" in seen) == (not address)
    assert seen.get("NCCL_SOCKET_IFNAME") == (None if address else "eth7")
    assert seen.get("GLOO_SOCKET_IFNAME") == (None if address else "lo")


def test_a_process_group_meets_on_loopback(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    meet |= {"RANK": "0", "WORLD_SIZE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", STORE],
        env={**os.environ, **alone(tmp_path), **meet},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.stdout.strip() == "['127.0.0.1']", done.stderr


TOGETHER = """
import os
import psutil, recipes.common.loopback
import torch.distributed as dist
dist.init_process_group("gloo")
dist.barrier()
processes = [psutil.Process(), psutil.Process().parent()]
open_in = [each.laddr.ip for one in processes for each in one.net_connections("inet") if each.status == "LISTEN"]
# In one write: both processes print to one pipe.
os.write(1, f"{dist.get_rank()} {dist.get_world_size()} {set(open_in) <= {'127.0.0.1'}}\\n".encode())
dist.barrier()
"""


def test_processes_side_by_side_meet_on_loopback(tmp_path: Path) -> None:
    (tmp_path / "together.py").write_text(TOGETHER)
    done = subprocess.run(
        [sys.executable, *side_by_side(2), str(tmp_path / "together.py")],
        env={**os.environ, **alone(tmp_path), "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert sorted(done.stdout.splitlines()) == ["0 2 True", "1 2 True"], done.stdout + done.stderr


def test_rays_node_is_on_loopback(tmp_path: Path) -> None:
    """By a variable that Ray names after other systems: a new Ray may name it otherwise."""
    code = "from ray._private import services; print(services.get_node_ip_address())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **alone(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.stdout.strip() == "127.0.0.1", done.stderr
